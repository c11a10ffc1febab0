import type { Command } from 'commander';
import { join } from 'node:path';
import { outputOf } from '../commands/context';
import { wholeNumber } from '../commands/option-types';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import { table } from '../output/table';
import { repositoryRoot } from '../repository-root';
import { buildFuzzers, fuzzBuildFolder, fuzzTargets, whyNoFuzzers } from './fuzz-build';
import { runFuzzers, toldOutcome, type FuzzOutcome } from './fuzz-run';

export function addFuzzCommand(program: Command): void {
  program
    .command('fuzz [target...]')
    .description('attack the VMM with inputs that nobody thought of: all fuzzers, or the named ones')
    .option('--seconds <n>', 'how long each of them runs', wholeNumber(1, 7 * 24 * 3_600), 300)
    .option('--jobs <n>', 'how many run at a time', wholeNumber(1, 1_024), 2)
    .option('--list', 'say which fuzzers there are')
    .action(
      async (
        names: string[],
        { seconds, jobs, list }: { seconds: number; jobs: number; list?: boolean },
        command: Command,
      ) => {
        const out = outputOf(command);
        const root = repositoryRoot();
        const targets = fuzzTargets(root);
        if (list) return targets.forEach((target) => out.line(target));
        const unknown = names.filter((name) => !targets.includes(name));
        if (unknown.length > 0)
          throw new CliError(`no fuzzer ${unknown.join(', ')}; there are ${targets.join(', ')}`, ExitCode.usage);
        const reason = whyNoFuzzers();
        if (reason !== undefined) throw new CliError(reason, ExitCode.usage);
        const built = await buildFuzzers(root);
        if (built !== 0) throw new CliError(`the fuzzers could not be built: ${built}`);
        const orders = targets
          .filter((target) => names.length === 0 || names.includes(target))
          .map((target) => ({
            root,
            target,
            seconds,
            corpus: join(fuzzBuildFolder(root), 'corpus', target),
            logs: join(fuzzBuildFolder(root), 'logs'),
          }));
        const outcomes = await runFuzzers(orders, jobs, (outcome) => out.note(toldOutcome(outcome)));
        if (out.json) out.document({ seconds, outcomes });
        else out.line(told(outcomes));
        if (outcomes.some(({ finding }) => finding !== undefined)) process.exitCode = ExitCode.failed;
      },
    );
}

function told(outcomes: readonly FuzzOutcome[]): string {
  return table(
    [
      { title: 'FUZZER', value: ({ target }) => target },
      { title: 'INPUTS', value: ({ runs }) => runs, align: 'right' },
      { title: 'PER SECOND', value: ({ runsPerSecond }) => runsPerSecond, align: 'right' },
      { title: 'EDGES', value: ({ coverage }) => coverage, align: 'right' },
      { title: 'CORPUS', value: ({ corpus }) => corpus, align: 'right' },
      { title: 'TOOK', value: ({ ms }) => duration(ms), align: 'right' },
      { title: 'FOUND', value: ({ finding }) => finding?.what ?? 'nothing' },
    ],
    outcomes,
  );
}
