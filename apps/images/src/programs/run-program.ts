import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { explained, ImageError } from '#images';

export interface ProgramRun {
  program: string;
  args: readonly string[];
  /** The Debian package that brings it, for whoever has to install it. */
  package: string;
  /** Working folder. Paths in `args` are best relative to it: some programs take colons and commas in paths for syntax. */
  folder: string;
  /** What it reads; nothing when absent. */
  input?: Readable;
  /** File that its output goes to; else it is kept in memory, up to 8 MiB. */
  outputFile?: string;
  /** Largest output file, in bytes. */
  maxOutputBytes?: number;
  signal: AbortSignal;
  /** It is killed when it takes longer, in ms. */
  deadlineMs: number;
  env?: Record<string, string>;
  /** Told of every line that it prints, when its output is kept in memory. */
  onLine?: (line: string) => void;
}

/** Thrown when a program ended badly: what it said last is in `stderr`. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
  constructor(
    readonly program: string,
    readonly outcome: string,
    readonly stderr: string,
  ) {
    super(`${program} failed (${outcome}): ${lastWords(stderr) || 'it gave no reason'}`);
  }
}

const KEPT_BYTES = 8 << 20;
const KEPT_STDERR = 16 << 10;
/** From SIGTERM to SIGKILL. */
const GRACE_MS = 2_000;

/**
 * Runs a program to its end, with what it may know of the environment and no more; gives what it printed. When it is aborted or late
 * it is ended, with all that it has started.
 *
 * @throws ProgramError; ImageError `cannot` when it is not installed, `cancelled`, `timeout`, `tooLarge` or `noSpace`.
 */
export async function runProgram(run: ProgramRun): Promise<string> {
  const { program, signal, deadlineMs } = run;
  if (signal.aborted) throw new ImageError('cancelled', `${program} was not run: the import was given up`);
  const child = spawn(program, run.args, {
    cwd: run.folder,
    env: { ...environment(run.folder), ...run.env },
    stdio: [run.input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own, to be ended as a whole
  });
  const ended = endOf(child);
  let late = false;
  let closed = false;
  child.once('close', () => (closed = true));
  // When its output breaks after that, there is nothing to end, and its number may be another's by then.
  const end = (): void => (closed ? undefined : endGroup(child));
  const timer = setTimeout(() => {
    late = true;
    end();
  }, deadlineMs);
  signal.addEventListener('abort', end, { once: true });
  const stderr = tailOf(child.stderr!);
  try {
    const output = takeOutput(run, child);
    const input = run.input ? feed(run.input, child.stdin!) : Promise.resolve();
    // Whatever fails on the way: the program must not outlive this call.
    const flows = Promise.all([output, input]).catch((error: unknown) => {
      end();
      throw error;
    });
    flows.catch(() => undefined);
    const outcome = await ended.catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      throw new ImageError('cannot', `${program} is missing here; install the Debian package ${run.package}`);
    });
    if (signal.aborted) throw new ImageError('cancelled', `${program} was ended: the import was given up`);
    if (late) throw new ImageError('timeout', `${program} took longer than ${Math.round(deadlineMs / 1000)} s`);
    // What goes in and out breaks for reasons of ours; a program that just ends breaks neither.
    const [printed] = await flows;
    if (outcome !== '0') throw new ProgramError(program, outcome, await stderr);
    return printed;
  } catch (error) {
    throw explained(error, `running ${program}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}

/** `0`, another exit code, or the name of a signal. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(String(code ?? signal)));
  });
}

function endGroup(child: ChildProcess): void {
  const { pid } = child;
  if (pid === undefined) return;
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal);
    } catch {
      // it has ended
    }
  };
  send('SIGTERM');
  const insist = setTimeout(() => send('SIGKILL'), GRACE_MS);
  child.once('close', () => clearTimeout(insist));
}

/** Proxies and the place of programs; nothing that could hold a secret of ours, no home with somebody's settings. */
function environment(folder: string): Record<string, string> {
  const env: Record<string, string> = { HOME: folder, TMPDIR: folder, LC_ALL: 'C.UTF-8' };
  for (const name of ['PATH', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy']) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  // Where only root's PATH leads.
  env['PATH'] = `${env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`;
  return env;
}

async function takeOutput(run: ProgramRun, child: ChildProcess): Promise<string> {
  const stdout = child.stdout!;
  if (run.outputFile !== undefined) {
    await pipeline(
      stdout,
      limited(run.program, run.maxOutputBytes),
      createWriteStream(run.outputFile, { mode: 0o600 }),
    );
    return '';
  }
  stdout.setEncoding('utf8');
  let kept = '';
  let line = '';
  for await (const text of stdout as AsyncIterable<string>) {
    if (kept.length < KEPT_BYTES) kept += text;
    const lines = (line + text).split('\n');
    line = lines.pop()!;
    for (const one of lines) run.onLine?.(one);
  }
  return kept;
}

function limited(program: string, most = Infinity) {
  return async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > most) throw new ImageError('tooLarge', `what ${program} gives is larger than ${most} bytes`);
      yield chunk;
    }
  };
}

/** A program that has read enough closes its input; that is its right. */
async function feed(input: Readable, stdin: Writable): Promise<void> {
  try {
    await pipeline(input, stdin);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPIPE' && code !== 'ERR_STREAM_PREMATURE_CLOSE' && code !== 'ECONNRESET') throw error;
  }
}

async function tailOf(stream: Readable): Promise<string> {
  stream.setEncoding('utf8');
  let text = '';
  try {
    for await (const part of stream as AsyncIterable<string>) text = (text + part).slice(-KEPT_STDERR);
  } catch {
    // what came by then must do
  }
  return text;
}

function lastWords(stderr: string): string {
  const lines = stderr
    .trim()
    .split('\n')
    .filter((line) => line.trim() !== '');
  return (lines.at(-1) ?? '').slice(0, 500);
}
