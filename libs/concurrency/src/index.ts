export * from './keyed-queue';
export * from './on-abort';
export * from './pacer';
export * from './token-bucket';
