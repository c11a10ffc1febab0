import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../suites/run-program';
import { fuzzBuildFolder } from './fuzz-build';
import { readFuzzLog, type FuzzRun } from './fuzz-log';

/** s that one input may take: a guest's requests that keep a thread longer are a finding. */
const INPUT_SECONDS = 10;
/** Beyond the time that was asked for: inputs of the corpus come first, and sanitizers take their time to report. */
const GRACE_MS = 5 * 60_000;

export interface FuzzOrder {
  root: string;
  target: string;
  seconds: number;
  /** Where inputs that reach something new are kept. */
  corpus: string;
  /** Folder of the logs: not that of another run at the same time. */
  logs: string;
}

export interface FuzzOutcome extends FuzzRun {
  target: string;
  ms: number;
  log: string;
  /** Runs the input that was found again. */
  again?: string;
}

/**
 * Replays the committed seeds and every input that once was a finding, then looks for new ones. What ends the program in
 * any other way than in good order is a finding; an input that only once took too long is none.
 */
export async function runFuzzer({ root, target, seconds, corpus, logs }: FuzzOrder): Promise<FuzzOutcome> {
  const build = fuzzBuildFolder(root);
  const program = join(build, 'fuzz', `fuzz-${target}`);
  const findings = join(build, 'findings', target);
  for (const folder of [corpus, findings, logs]) mkdirSync(folder, { recursive: true });
  const committed = ['seeds', 'regressions']
    .map((kind) => join(root, 'native', 'fuzz', kind, target))
    .filter((folder) => existsSync(folder));
  const startedMs = performance.now();
  const run = async (stage: string, args: string[], folders: string[], runMs: number): Promise<FuzzOutcome> => {
    const log = join(logs, `${target}.${stage}.log`);
    const ended = await runProgram({
      command: program,
      args: [`-timeout=${INPUT_SECONDS}`, `-artifact_prefix=${findings}/`, '-print_final_stats=1', ...args, ...folders],
      cwd: build,
      outputFile: log,
      deadlineMs: runMs + GRACE_MS,
    });
    const read = readFuzzLog(readFileSync(log, 'utf8'));
    if (ended === 0) delete read.finding;
    else read.finding ??= { what: `it ended with ${ended}` };
    const input = read.finding?.input;
    return {
      ...read,
      target,
      ms: performance.now() - startedMs,
      log,
      ...(input === undefined ? {} : { again: `${program} ${input}` }),
    };
  };
  const replayed = await run('replay', ['-runs=0'], committed, 0);
  if (replayed.finding) return replayed;
  const deadlineMs = performance.now() + seconds * 1_000;
  for (;;) {
    const leftMs = Math.max(1_000, deadlineMs - performance.now());
    const outcome = await run(
      'run',
      [`-max_total_time=${Math.ceil(leftMs / 1_000)}`, '-max_len=4096', '-len_control=20'],
      [corpus, ...committed],
      leftMs,
    );
    const late = outcome.finding?.input;
    if (late === undefined || !/\/timeout-[0-9a-f]+$/.test(late)) return outcome;
    // libFuzzer looks at the clock on the wall: was it this input, or did the machine stand still? The same input does the
    // same each time.
    if ((await run('again', [], [late], INPUT_SECONDS * 1_000)).finding) return outcome;
    rmSync(late);
    if (performance.now() >= deadlineMs) {
      delete outcome.finding;
      delete outcome.again;
      return outcome;
    }
  }
}

/** Runs `jobs` of them at a time. */
export async function runFuzzers(
  orders: readonly FuzzOrder[],
  jobs: number,
  told: (outcome: FuzzOutcome) => void,
): Promise<FuzzOutcome[]> {
  const outcomes = new Map<FuzzOrder, FuzzOutcome>();
  const waiting = [...orders];
  const worker = async (): Promise<void> => {
    for (let order = waiting.shift(); order; order = waiting.shift()) {
      const outcome = await runFuzzer(order);
      outcomes.set(order, outcome);
      told(outcome);
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, orders.length) }, worker));
  return orders.map((order) => outcomes.get(order)!);
}

/** One line for people, and for a finding all that is needed to look at it. */
export function toldOutcome({ target, runs, runsPerSecond, coverage, ms, finding, again, log }: FuzzOutcome): string {
  const seconds = (ms / 1_000).toFixed(0);
  const counted = `${target}: ${runs} inputs in ${seconds} s (${runsPerSecond}/s), ${coverage} edges reached`;
  if (!finding) return counted;
  return `${counted}\n  FINDING: ${finding.what}\n  again: ${again ?? `no input was kept, see ${log}`}\n  log: ${log}`;
}
