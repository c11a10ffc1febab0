import type { Command } from 'commander';
import { outputOf } from '../commands/context';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import { table } from '../output/table';
import { repositoryRoot } from '../repository-root';
import { recap } from './failure';
import { fetchKernels } from './fetch-kernels';
import type { Suite, SuiteOutcome } from './suite';
import { suitesOf } from './suites';
import { closingLine, sum } from './tally';

const WITH_KERNELS = ['unit', 'e2e', 'emulated', 'kvm'];

interface SuiteRun {
  name: string;
  ms: number;
  outcome: SuiteOutcome;
}

export function addTestCommand(program: Command): void {
  program
    .command('test [suite...]')
    .description('run the tests: all of them, or the named suites')
    .option('--list', 'say which suites there are')
    .action(async (names: string[], { list }: { list?: boolean }, command: Command) => {
      const out = outputOf(command);
      const suites = suitesOf(repositoryRoot());
      if (list)
        return out.line(
          table(
            [
              { title: 'SUITE', value: (one: Suite) => one.name },
              { title: 'WHAT', value: (one) => one.summary },
            ],
            suites,
          ),
        );
      const unknown = names.filter((name) => !suites.some((suite) => suite.name === name));
      if (unknown.length > 0) {
        throw new CliError(
          `no suite ${unknown.join(', ')}; there are ${suites.map(({ name }) => name).join(', ')}`,
          ExitCode.usage,
        );
      }
      const chosen = suites.filter(({ name, onRequest }) => (names.length === 0 ? !onRequest : names.includes(name)));
      if (chosen.some(({ name }) => WITH_KERNELS.includes(name))) {
        for (const problem of await fetchKernels(repositoryRoot())) out.note(problem);
      }
      const done: SuiteRun[] = [];
      for (const group of sideBySide(chosen)) done.push(...(await Promise.all(group.map(runSuite))));
      const rows = done.flatMap(({ name, ms, outcome }) => [
        { name, ms, tally: outcome.tally },
        ...[...outcome.files].sort((a, b) => b.ms - a.ms).map((file) => ({ ...file, name: `  ${file.name}` })),
      ]);
      const total = sum(done.map(({ outcome }) => outcome.tally));
      out.line();
      out.line(
        table(
          [
            { title: 'SUITE', value: ({ name }) => name },
            { title: 'TOOK', value: ({ ms }) => duration(ms), align: 'right' },
            { title: 'PASSED', value: ({ tally }) => tally.passed, align: 'right' },
            { title: 'FAILED', value: ({ tally }) => tally.failed, align: 'right' },
            { title: 'SKIPPED', value: ({ tally }) => tally.skipped, align: 'right' },
          ],
          rows,
        ),
      );
      for (const { name, outcome } of done) for (const note of outcome.notes) out.line(`${name}: ${note}`);
      out.line();
      for (const line of recap(done.map(({ name, outcome }) => ({ name, failures: outcome.failures })))) out.line(line);
      out.line(closingLine(total));
      if (total.failed > 0) process.exitCode = ExitCode.failed;
    });
}

async function runSuite({ name, summary, run }: Suite): Promise<SuiteRun> {
  process.stdout.write(`\n== ${name}: ${summary}\n`);
  const startedMs = performance.now();
  const outcome = await run();
  outcome.notes.forEach((note) => process.stdout.write(`${name}: ${note}\n`));
  return { name, ms: performance.now() - startedMs, outcome };
}

/** In their order, what runs at the same time together. */
function sideBySide(suites: readonly Suite[]): Suite[][] {
  const groups: Suite[][] = [];
  for (const suite of suites) {
    const before = groups.at(-1);
    if (suite.singleThreaded && before?.[0]!.singleThreaded) before.push(suite);
    else groups.push([suite]);
  }
  return groups;
}
