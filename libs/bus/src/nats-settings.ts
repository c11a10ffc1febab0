import { z } from 'zod';
import type { Party } from '#access';
import { readNkey, readSecretFile, SecretFileError } from '#keys';
import { ConfigError } from './config';
import type { ConnectOptions } from './nats-connection';

/** The settings by which every service finds NATS; part of each service's own settings for {@link readConfig}. */
export const natsSettings = {
  /** One or more servers of a cluster, separated by commas. */
  natsUrl: z.string().min(1).default('nats://127.0.0.1:4222'),
  /** File with the seed of this service's own nkey; readable by its owner alone. */
  natsNkeyFile: z.string().optional(),
  /** File with the token of a server that knows no keys. */
  natsTokenFile: z.string().optional(),
  /** File with the certificate of the authority that the servers' certificates are of; given, nothing but TLS will do. */
  natsCaFile: z.string().optional(),
  /** On how many servers each stream and bucket is kept. The same for all services. */
  natsReplicas: z.coerce.number().int().min(1).max(5).default(1),
};

export type NatsSettings = z.output<z.ZodObject<typeof natsSettings>>;

/** @throws ConfigError when a file cannot be read, is readable by others, or does not hold what it should. */
export function natsOptions(settings: NatsSettings, party?: Party): Omit<ConnectOptions, 'name' | 'logger'> {
  const { natsUrl, natsNkeyFile, natsTokenFile, natsCaFile, natsReplicas } = settings;
  try {
    if (natsNkeyFile !== undefined) readNkey(natsNkeyFile);
    return {
      servers: natsUrl.split(','),
      replicas: natsReplicas,
      ...(party === undefined ? {} : { party }),
      ...(natsNkeyFile === undefined ? {} : { nkeyFile: natsNkeyFile }),
      ...(natsTokenFile === undefined ? {} : { token: readSecretFile(natsTokenFile) }),
      ...(natsCaFile === undefined ? {} : { caFile: natsCaFile }),
    };
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    throw new ConfigError(`NATS: ${error.message}`);
  }
}
