export * from './errors';
export * from './exit-report';
export * from './microvm-driver';
export * from './microvm-stats';
