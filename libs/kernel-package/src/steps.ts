import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';

/** A program to run on the way to a result; what it printed comes back. */
export interface Step {
  readonly program: string;
  readonly argv: readonly string[];
  readonly deadlineMs: number;
  readonly folder?: string;
}

/** Work with programs in between, written once: a service lets others go on meanwhile, a test needs the result at once. */
export type Steps<Result> = Generator<Step, Result, string>;

/** Bytes that a program may print. */
const OUTPUT = 64 << 20;

export function runSteps<Result>(steps: Steps<Result>): Result {
  let next = steps.next();
  while (next.done !== true) {
    const { program, argv, deadlineMs, folder } = next.value;
    let answer: string;
    try {
      answer = execFileSync(program, argv, {
        ...{ timeout: deadlineMs, cwd: folder, env: process.env, maxBuffer: OUTPUT },
        ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
      });
    } catch (cause) {
      next = steps.throw(cause);
      continue;
    }
    next = steps.next(answer);
  }
  return next.value;
}

export async function walkSteps<Result>(steps: Steps<Result>): Promise<Result> {
  let next = steps.next();
  while (next.done !== true) {
    const { program, argv, deadlineMs, folder } = next.value;
    let answer: string;
    try {
      const { stdout } = await promisify(execFile)(program, argv, {
        ...{ timeout: deadlineMs, cwd: folder, env: process.env, maxBuffer: OUTPUT, encoding: 'utf8' },
      });
      answer = stdout;
    } catch (cause) {
      next = steps.throw(cause);
      continue;
    }
    next = steps.next(answer);
  }
  return next.value;
}
