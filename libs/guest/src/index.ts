export * from './cpio';
export * from './errors';
export * from './init-config';
export * from './initrd-extra';
