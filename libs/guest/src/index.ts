export * from './entry';
export * from './errors';
export * from './exec';
export * from './frame';
export * from './guest-agent';
export * from './init-config';
export * from './initrd-extra';
export { getTar, putTar } from './tar-copy';
export * from './vsock-connection';
