export { makeNkey, readNkey, type Nkey } from './nkey';
export { readSecretFile, SecretFileError } from './secret-file';
