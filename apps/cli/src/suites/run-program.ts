import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

export interface ProgramRun {
  command: string;
  args: string[];
  cwd: string;
  env?: Record<string, string>;
  /** File that gets what it prints, instead of our own output. */
  outputFile?: string;
  /** ms after which it is killed, with all its children. */
  deadlineMs: number;
}

/** Runs a program with this one's output; resolves with its exit code, or with what ended it. */
export function runProgram({ command, args, cwd, env, outputFile, deadlineMs }: ProgramRun): Promise<number | string> {
  return new Promise((resolve) => {
    const output = outputFile === undefined ? 'inherit' : openSync(outputFile, 'w');
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', output, output],
      detached: true, // a process group of its own, so that all of it can be ended
    });
    if (output !== 'inherit') closeSync(output);
    const killAll = (): void => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // gone already
      }
    };
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killAll();
    }, deadlineMs);
    const interrupted = (): void => {
      killAll();
      setImmediate(() => process.exit(130)); // when everything else that runs is killed, too
    };
    process.once('SIGINT', interrupted);
    process.once('SIGTERM', interrupted);
    const done = (outcome: number | string): void => {
      clearTimeout(timer);
      process.off('SIGINT', interrupted);
      process.off('SIGTERM', interrupted);
      resolve(outcome);
    };
    child.once('error', (error) => done(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) =>
      done(late ? `not done after ${deadlineMs / 1_000} s` : (code ?? `killed by ${signal}`)),
    );
  });
}
