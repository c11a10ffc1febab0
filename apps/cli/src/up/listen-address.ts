import { freePort, isPortFree } from '#ports';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';

export interface ListenAddress {
  host: string;
  port: number;
}

/** Reads `HOST:PORT`, `[::1]:PORT`. */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535)
    throw new CliError(`--listen ${text}: it must be HOST:PORT, such as 127.0.0.1:7400`, ExitCode.usage);
  return { host: (match[1] ?? match[2])!, port };
}

/** Port 0 becomes a free one; a taken one is refused before anything is started. */
export async function availableAt({ host, port }: ListenAddress): Promise<ListenAddress> {
  try {
    if (port === 0) return { host, port: await freePort(host) };
    if (await isPortFree(host, port)) return { host, port };
  } catch (error) {
    throw new CliError(`cannot listen on ${host}:${port}: ${(error as Error).message}`, ExitCode.usage);
  }
  throw new CliError(
    `${host}:${port} is taken by another program; choose a free port: ./volley up --port 0 takes any`,
    ExitCode.usage,
  );
}
