export * from './choose-host';
export * from './demand';
export * from './explain';
export * from './fair-queue';
export { FILTERS, passesAll, REPORT_MAX_AGE_MS, type Filter, type Occasion } from './filters';
export * from './host-table';
export * from './occupants';
export * from './scores';
