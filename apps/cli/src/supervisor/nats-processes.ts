import { existsSync, mkdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { THIS_MACHINE } from '#emulated-host';
import { tcpReady } from '#ports';
import { CertificateAuthority, type Certificate } from '../keys/certificates';
import type { KeyRing } from '../keys/key-ring';
import { NATS_SERVER } from '../keys/reload-nats';
import { type DataFolder, writeWhole } from './data-folder';
import { natsConfig } from './nats-config';
import type { ProcessSpec } from './process-spec';
import type { Settings } from './settings';

const NATS_STOP_MS = 10_000;

/** The nats-servers of a folder, and what whoever connects to them has to know. */
export interface NatsServers {
  processes: ProcessSpec[];
  ports: readonly number[];
  /** Of the authority of their certificates; absent: they do not encrypt. */
  caFile?: string;
}

/** One server without TLS, since it listens on the loopback alone; or a cluster of three, which is as it would be on three machines. */
export function natsProcesses(
  folder: DataFolder,
  { natsPort, cluster }: Settings,
  ring: KeyRing,
  env: Record<string, string>,
): NatsServers {
  const usersFile = relative(folder.path, ring.usersFile);
  const process = (name: string, port: number, configFile: string): ProcessSpec => ({
    name,
    command: natsServer(),
    args: ['-c', configFile],
    env,
    ready: (signal) => tcpReady('127.0.0.1', port, signal),
    stopDeadlineMs: NATS_STOP_MS,
  });
  if (!cluster) {
    const config = natsConfig({ name: 'volley', port: natsPort, storeDir: folder.nats, usersFile });
    writeWhole(folder.natsConfigFile(), config);
    return { processes: [process(NATS_SERVER, natsPort, folder.natsConfigFile())], ports: [natsPort] };
  }
  const { ports, routePorts } = cluster;
  const certificate = loopbackCertificate(folder);
  const processes = ports.map((port, index) => {
    const number = index + 1;
    const storeDir = join(folder.nats, String(number));
    mkdirSync(storeDir, { recursive: true, mode: 0o700 });
    const routes = { port: routePorts[index]!, ports: routePorts };
    const configFile = folder.natsConfigFile(number);
    writeWhole(configFile, natsConfig({ name: `volley-${number}`, port, storeDir, usersFile, certificate, routes }));
    return process(`${NATS_SERVER}-${number}`, port, configFile);
  });
  return { processes, ports, caFile: certificate.caFile };
}

/** Anew each time, so that it never runs out under a folder that is in use. */
function loopbackCertificate(folder: DataFolder): Certificate {
  return CertificateAuthority.open(folder.tls).issue(NATS_SERVER, ['127.0.0.1', '::1', 'localhost', THIS_MACHINE]);
}

/** Debian puts it where only root's PATH leads. */
function natsServer(): string {
  const chosen = process.env['VOLLEY_NATS_SERVER'];
  if (chosen) return chosen;
  return (
    ['/usr/sbin/nats-server', '/usr/local/bin/nats-server', '/usr/bin/nats-server'].find(existsSync) ?? 'nats-server'
  );
}
