import type { Certificate } from '../keys/certificates';

export interface NatsConfigOptions {
  /** Names the server among those of its cluster. */
  name: string;
  port: number;
  storeDir: string;
  /** Who may come in; see `volley keys`. */
  usersFile: string;
  /** Absent: connections are not encrypted. */
  certificate?: Certificate;
  /** Ports by which the servers of a cluster find each other, and this one's. Absent: a server on its own. */
  routes?: { port: number; ports: readonly number[] };
}

/** A nats-server of `volley up`: on the loopback alone, known keys only, with JetStream in the data folder. */
export function natsConfig({ name, port, storeDir, usersFile, certificate, routes }: NatsConfigOptions): string {
  const text = [
    '# Written by volley up.',
    `server_name: ${name}`,
    'host: 127.0.0.1',
    `port: ${port}`,
    'max_payload: 1048576',
    // A client that is gone without a word is dropped within seconds, unless messages for it still flow.
    'ping_interval: "2s"',
    'ping_max: 3',
    `jetstream { store_dir: ${JSON.stringify(storeDir)} }`,
    // A path from this file's folder; others are not understood.
    `include ${JSON.stringify(usersFile)}`,
  ];
  if (certificate) text.push(`tls {${tls(certificate)}}`);
  if (routes && certificate) {
    const urls = routes.ports.map((each) => `"nats-route://127.0.0.1:${each}"`).join(', ');
    text.push(
      'cluster {',
      '  name: volley',
      `  listen: 127.0.0.1:${routes.port}`,
      `  routes: [${urls}]`,
      // Who joins is believed everything: both sides show a certificate of our authority.
      `  tls {${tls(certificate)} verify: true, timeout: 5 }`,
      '}',
    );
  }
  return `${text.join('\n')}\n`;
}

function tls({ certFile, keyFile, caFile }: Certificate): string {
  const path = (file: string): string => JSON.stringify(file);
  return ` cert_file: ${path(certFile)}, key_file: ${path(keyFile)}, ca_file: ${path(caFile)},`;
}
