/** How the run of one fuzzer went, as its log tells. */
export interface FuzzRun {
  /** Inputs that were tried, those of the corpus included. */
  runs: number;
  runsPerSecond: number;
  /** Edges of the program that some input has reached. */
  coverage: number;
  /** Inputs that are kept because each reaches something new. */
  corpus: number;
  /** What was found; absent when nothing was. */
  finding?: { what: string; input?: string };
}

/** Reads what libFuzzer prints. The last line of progress counts. */
export function readFuzzLog(log: string): FuzzRun {
  const number = (pattern: RegExp, text: string | undefined): number => Number(pattern.exec(text ?? '')?.[1] ?? 0);
  const progress = log.match(/^#\d+\t.*\bcov: \d+.*$/gm)?.at(-1);
  const run: FuzzRun = {
    runs: number(/^#(\d+)/, progress),
    runsPerSecond: number(/^stat::average_exec_per_sec:\s*(\d+)/m, log) || number(/exec\/s: (\d+)/, progress),
    coverage: number(/\bcov: (\d+)/, progress),
    corpus: number(/\bcorp: (\d+)/, progress),
  };
  const input = /Test unit written to (\S+)/.exec(log)?.[1];
  const what =
    /^FINDING: (.+)$/m.exec(log)?.[1] ??
    /runtime error: (.+)$/m.exec(log)?.[1] ??
    /^SUMMARY: (.+)$/m.exec(log)?.[1] ??
    /ERROR: (.+)$/m.exec(log)?.[1];
  if (what !== undefined || input !== undefined)
    run.finding = { what: what ?? 'it crashed', ...(input === undefined ? {} : { input }) };
  return run;
}
