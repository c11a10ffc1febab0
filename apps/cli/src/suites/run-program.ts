import { spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';

/** Of what can be asked for with `nice`. */
const LOWEST = constants.priority.PRIORITY_LOW;

export interface ProgramRun {
  command: string;
  args: string[];
  cwd: string;
  env?: Record<string, string>;
  /** File that gets what it prints, instead of our own output. */
  outputFile?: string;
  /** It gets the processor time that everybody else leaves. */
  patient?: boolean;
  /** ms after which it is killed, with all its children. */
  deadlineMs: number;
}

/** Runs a program with this one's output; resolves with its exit code, or with what ended it. */
export function runProgram(run: ProgramRun): Promise<number | string> {
  const { cwd, env, outputFile, patient = false, deadlineMs } = run;
  const [command, ...args] = [...(patient ? ['nice', '-n', String(LOWEST)] : []), run.command, ...run.args];
  return new Promise((resolve) => {
    const output = outputFile === undefined ? 'inherit' : openSync(outputFile, 'w');
    const child = spawn(command!, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', output, output],
      detached: true, // a process group of its own, so that all of it can be ended
    });
    if (output !== 'inherit') closeSync(output);
    if (patient) stepBack(child.pid);
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

/** Its session, which is its own, among those of others: a kernel that shares out processor time by sessions looks at nothing else. */
function stepBack(session: number | undefined): void {
  try {
    writeFileSync(`/proc/${session}/autogroup`, String(LOWEST));
  } catch {
    // This kernel does not, or it has ended already.
  }
}
