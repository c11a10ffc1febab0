import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** Thrown when a tool of the system ends with an error, or not in time. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** Where such tools are even when PATH does not say so. */
const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export function findTool(name: string): string | undefined {
  const folders = [...FOLDERS, ...(process.env['PATH'] ?? '').split(':').filter((folder) => folder.startsWith('/'))];
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export interface ToolOptions {
  /** Handed over on standard input. */
  input?: string;
  /** Run in the network namespace at this path. */
  namespace?: string;
  deadlineMs?: number;
}

/** For one that hangs. On an emulated host under load, nft alone has been seen to take 12 s. */
const DEADLINE_MS = 30_000;
const COMPLAINT_MAX = 600;
const OUTPUT_MAX = 16 << 20;

/** Runs a tool and resolves with what it printed. @throws ToolError with what it complained about. */
export function runTool(path: string, args: readonly string[], options: ToolOptions = {}): Promise<string> {
  const { input, namespace, deadlineMs = DEADLINE_MS } = options;
  const [command, ...words] =
    namespace === undefined ? [path, ...args] : [findTool('nsenter') ?? 'nsenter', `--net=${namespace}`, path, ...args];
  return new Promise((resolve, reject) => {
    const child = spawn(command!, words, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { LC_ALL: 'C', PATH: FOLDERS.join(':') },
    });
    let out = '';
    let complaint = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (out.length < OUTPUT_MAX) out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < COMPLAINT_MAX) complaint += text;
    });
    // A tool that ends before it has read everything says why itself.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new ToolError(`${path} could not be run: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return resolve(out);
      const how =
        code === null
          ? `was ended by ${signal ?? 'a signal'} (it may have taken longer than ${deadlineMs} ms)`
          : `failed`;
      reject(
        new ToolError(`${path} ${args.slice(0, 4).join(' ')} ${how}: ${complaint.slice(0, COMPLAINT_MAX).trim()}`),
      );
    });
  });
}
