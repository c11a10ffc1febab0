import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Below are the ports of well-known services. */
const LOWEST = 10_000;
const TRIES = 100;

/**
 * A TCP port of `host` that nobody listens on at the moment, for a service to listen on. It is one that the kernel gives to no outgoing
 * connection: those come and go by the hundred, and who listens could be locked out by one, now or when it starts again.
 *
 * @throws Error of listen(2): `host` is no address of this machine, or all its ports are taken
 */
export async function freePort(host: string): Promise<number> {
  const below = firstOutgoingPort();
  for (let tries = 0; tries < TRIES && below > LOWEST; tries++) {
    const port = randomInt(LOWEST, below);
    if (await isPortFree(host, port)) return port;
  }
  return listens(host, 0);
}

/** Whether nobody listens on this TCP port of `host`. @throws Error of listen(2), but for a port that is taken */
export async function isPortFree(host: string, port: number): Promise<boolean> {
  try {
    await listens(host, port);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
}

function firstOutgoingPort(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)[0]);
  } catch {
    return 32_768; // Linux's default
  }
}

function listens(host: string, wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port: wanted, exclusive: true }, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
