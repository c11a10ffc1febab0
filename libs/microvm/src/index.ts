export { barrierNames } from './barriers';
export * from './cpu-reservations';
export * from './describe-snapshot';
export * from './errors';
export * from './exit-report';
export * from './microvm-driver';
export * from './microvm-stats';
export { createMicrovmDriver, type MicrovmDriverOptions } from './native-driver';
export * from './snapshot';
export { SNAPSHOT_FORMAT } from './snapshot-header';
export {
  prefetchWorkingSet,
  readWorkingSet,
  recordWorkingSet,
  touchedSinceRestore,
  WorkingSetError,
  writeWorkingSet,
} from './working-set';
