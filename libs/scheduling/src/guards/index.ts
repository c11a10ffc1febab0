export * from './gates';
export { waitOfTime, type GuardReading, type WaitSample } from './readings';
export * from './reclaim';
