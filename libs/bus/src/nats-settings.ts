import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError } from './config';
import type { ConnectOptions } from './nats-connection';

/** The settings by which every service finds NATS; part of each service's own settings for {@link readConfig}. */
export const natsSettings = {
  /** One or more servers of a cluster, separated by commas. */
  natsUrl: z.string().min(1).default('nats://127.0.0.1:4222'),
  /** File with the token that the server asks for. */
  natsTokenFile: z.string().optional(),
};

/** Throws ConfigError when the token file cannot be read. */
export function natsOptions(settings: {
  natsUrl: string;
  natsTokenFile?: string | undefined;
}): Pick<ConnectOptions, 'servers' | 'token'> {
  const servers = settings.natsUrl.split(',');
  if (settings.natsTokenFile === undefined) return { servers };
  try {
    return { servers, token: readFileSync(settings.natsTokenFile, 'utf8').trim() };
  } catch (error) {
    throw new ConfigError(`the NATS token file cannot be read: ${(error as Error).message}`);
  }
}
