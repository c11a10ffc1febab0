export * from './compliance-goal';
export * from './predicted-peak';
export * from './ratio-in-force';
export * from './usage-history';
