export * from './candidate';
export * from './choose-host';
export * from './filters';
export * from './scores';
