export * from './fleet-view';
