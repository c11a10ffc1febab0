import { createServer } from 'node:net';

/** A port of `host` that nobody listens on: the wanted one, or for 0 any. Undefined when the wanted one is taken. */
export function freePort(host: string, wanted = 0): Promise<number | undefined> {
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
