import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ConfigError } from '#bus';
import { readSecretFile, SecretFileError } from '#keys';

/** What REST is encrypted with; PEM. */
export interface TlsFiles {
  cert: string;
  key: string;
}

/**
 * Reads certificate and key. Undefined: REST is not encrypted.
 *
 * @throws ConfigError when only one is given, one cannot be read, others can read the key, or they do not belong together.
 */
export function tlsFiles(certFile: string | undefined, keyFile: string | undefined): TlsFiles | undefined {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) {
    throw new ConfigError('TLS needs both VOLLEY_TLS_CERT_FILE and VOLLEY_TLS_KEY_FILE; only one is given');
  }
  try {
    const files = { cert: readFileSync(certFile, 'utf8'), key: readSecretFile(keyFile) };
    createSecureContext(files);
    return files;
  } catch (error) {
    const what = error instanceof SecretFileError ? '' : `${certFile} and ${keyFile} cannot be used: `;
    throw new ConfigError(`TLS: ${what}${(error as Error).message}`);
  }
}
