import { nkeys } from 'nats';
import { readSecretFile, SecretFileError } from './secret-file';

/** An Ed25519 key pair in the writing of NATS: the seed is the secret, the server knows the public key alone. */
export interface Nkey {
  /** `SU` and 56 characters. */
  seed: string;
  /** `U` and 55 characters. */
  publicKey: string;
}

export function makeNkey(): Nkey {
  const pair = nkeys.createUser();
  return { seed: new TextDecoder().decode(pair.getSeed()), publicKey: pair.getPublicKey() };
}

/** Reads the seed of a user's key. @throws SecretFileError when it is none, cannot be read, or others can read it. */
export function readNkey(path: string): Nkey {
  const seed = readSecretFile(path);
  try {
    const publicKey = nkeys.fromSeed(new TextEncoder().encode(seed)).getPublicKey();
    if (!publicKey.startsWith('U')) throw new Error('it is no key of a user');
    return { seed, publicKey };
  } catch (error) {
    throw new SecretFileError(`${path} holds no seed of an nkey (${(error as Error).message}); volley keys makes them`);
  }
}
