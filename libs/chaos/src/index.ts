export * from './invariants/check-histories';
export * from './invariants/check-hosts';
export * from './invariants/legal-paths';
export * from './invariants/read-histories';
export * from './invariants/scan-vmms';
export * from './invariants/violation';
export * from './seeded-random';
