import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import type { Load, TraceTally } from '#whatif';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';

/** Not needed by any other command. */
const whatIfs = () => import('#whatif');

/** A trace, and the hosts to put it on. */
export interface TraceFlags {
  /** `azure:PATH` or `google:PATH`. */
  trace: string;
  readings?: string | undefined;
  /** Only one VM or task in so many. */
  every: number;
  hosts: number;
  hostCpus: number;
  hostMemoryMiB: number;
}

/** One file, as it was read. */
export interface ReadFile {
  path: string;
  tally: TraceTally;
}

export interface TraceLoad {
  load: Load & { compacted: number };
  files: ReadFile[];
}

/** Reads a trace line by line; of what is no row it is only counted. @throws CliError when a file cannot be read, or nothing in it is a row. */
export async function readTrace(flags: TraceFlags): Promise<TraceLoad> {
  const { traceHosts } = await whatIfs();
  const [, form, path] = /^(azure|google):(.+)$/.exec(flags.trace) ?? [];
  if (!form || !path) throw new CliError('--trace must be azure:PATH or google:PATH', ExitCode.usage);
  const machine = { cpus: flags.hostCpus, memoryMiB: flags.hostMemoryMiB };
  const read = form === 'azure' ? await readAzure(path, flags) : await readGoogle(path, machine, flags);
  const { claims, usage, end, files } = read;
  if (claims.length === 0) {
    const [{ reason } = { reason: 'it is empty' }] = files[0]!.tally.examples;
    throw new CliError(`${path} holds nothing that could be read as a row of ${form}: ${reason}`, ExitCode.usage);
  }
  claims.sort((a, b) => a.askedAt - b.askedAt);
  return { load: { from: 0, to: end, claims, usage, hosts: traceHosts(flags.hosts, machine), compacted: 0 }, files };
}

async function readAzure(path: string, { readings, every }: TraceFlags) {
  const { AzureTrace } = await whatIfs();
  const trace = new AzureTrace(every);
  await forEachLine(path, (line) => trace.takeVm(line));
  if (readings !== undefined) await forEachLine(readings, (line) => trace.takeReading(line));
  const files = [
    { path, tally: trace.table },
    ...(readings === undefined ? [] : [{ path: readings, tally: trace.readings }]),
  ];
  return { ...trace.claims(), files };
}

async function readGoogle(path: string, machine: { cpus: number; memoryMiB: number }, { every }: TraceFlags) {
  const { GoogleTrace } = await whatIfs();
  const trace = new GoogleTrace(machine, every);
  await forEachLine(path, (line) => trace.take(line));
  return { ...trace.claims(), usage: [], files: [{ path, tally: trace.events }] };
}

async function forEachLine(path: string, take: (line: string) => void): Promise<void> {
  const file = createReadStream(path);
  const input = path.endsWith('.gz') ? file.pipe(createGunzip()) : file;
  // An error of the file does not reach whoever reads from what it is piped into.
  file.once('error', (error) => input.destroy(error));
  try {
    for await (const line of createInterface({ input, crlfDelay: Infinity })) take(line);
  } catch (error) {
    const { BadRow } = await whatIfs();
    if (error instanceof BadRow || (error as NodeJS.ErrnoException).code !== undefined) {
      throw new CliError(`${path} cannot be read: ${(error as Error).message}`, ExitCode.usage);
    }
    throw error;
  }
}
