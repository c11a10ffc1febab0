export * from './density-report';
export * from './formulas';
export * from './microvm-sampler';
export * from './proc-files';
export * from './proc-reader';
export * from './sampling-cost';
