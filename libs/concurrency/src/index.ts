export * from './keyed-queue';
export * from './pacer';
export * from './token-bucket';
