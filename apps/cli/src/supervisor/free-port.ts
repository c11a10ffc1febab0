import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Below are the ports of well-known services. */
const LOWEST = 10_000;
const TRIES = 100;

/**
 * A port of `host` that nobody listens on: the wanted one, or for 0 any. Undefined when the wanted one is taken.
 *
 * Any is one that the kernel gives to no outgoing connection: those come and go by the hundred, and who listens could be locked out by
 * one, now or when it starts again.
 */
export async function freePort(host: string, wanted = 0): Promise<number | undefined> {
  if (wanted !== 0) return listens(host, wanted);
  const below = firstOutgoingPort();
  for (let tries = 0; tries < TRIES && below > LOWEST; tries++) {
    const port = await listens(host, randomInt(LOWEST, below));
    if (port !== undefined) return port;
  }
  return listens(host, 0);
}

function firstOutgoingPort(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)[0]);
  } catch {
    return 32_768; // Linux's default
  }
}

function listens(host: string, wanted: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ host, port: wanted, exclusive: true }, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
