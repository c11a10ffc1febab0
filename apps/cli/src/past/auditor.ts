import { join } from 'node:path';
import type { NatsSettings } from '#bus';
import { tcpReady } from '#ports';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { KeyRing } from '../keys/key-ring';
import { DataFolder } from '../supervisor/data-folder';
import { readSettings } from '../supervisor/settings';

const CONNECT_MS = 5_000;

/** How an audit reaches NATS when it is not that of a local `volley up`. */
export interface NatsFlags {
  natsUrl?: string;
  natsNkeyFile?: string;
  natsTokenFile?: string;
  natsCaFile?: string;
  natsReplicas: number;
}

/** The flags, or else what a local `volley up` keeps: audits read the streams themselves, with a key of their own. */
export function auditorSettings(data: string, flags: NatsFlags): NatsSettings {
  const { natsUrl, natsNkeyFile, natsTokenFile, natsCaFile, natsReplicas } = flags;
  if (natsUrl !== undefined) return { natsUrl, natsNkeyFile, natsTokenFile, natsCaFile, natsReplicas };
  const folder = DataFolder.at(data);
  const settings = readSettings(folder);
  if (!settings) {
    throw new CliError(`there is no fleet in ${folder.path}; name its NATS with --nats-url`, ExitCode.notUp);
  }
  const ports = settings.cluster?.ports ?? [settings.natsPort];
  return {
    natsUrl: ports.map((port) => `nats://127.0.0.1:${port}`).join(','),
    natsNkeyFile: natsNkeyFile ?? KeyRing.open(folder.keys).seedFile('auditor'),
    natsCaFile: settings.cluster ? join(folder.tls, 'ca.pem') : undefined,
    natsTokenFile: undefined,
    // As the services have it: what is opened must not be changed.
    natsReplicas: ports.length,
  };
}

/** @throws CliError when none of the servers can be reached: a service would wait for them, a command should not. */
export async function requireServer(natsUrl: string): Promise<void> {
  const signal = AbortSignal.timeout(CONNECT_MS);
  try {
    await Promise.any(
      natsUrl.split(',').map((url) => {
        const { hostname, port } = new URL(url);
        return tcpReady(hostname.replace(/^\[|\]$/g, ''), Number(port || 4222), signal);
      }),
    );
  } catch {
    throw new CliError(`no nats-server answers at ${natsUrl}; is the fleet up?`, ExitCode.notUp);
  }
}
