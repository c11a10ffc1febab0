export * from './keyed-queue';
export * from './pacer';
