import type { Command } from 'commander';
import { writeFileSync } from 'node:fs';
import { contextOf } from '../../commands/context';
import { START_PHASES, START_SPANS } from '../../commands/microvm-timings';
import { memoryOption, wholeNumber } from '../../commands/option-types';
import { CliError } from '../../errors';
import { duration } from '../../output/quantities';
import { table } from '../../output/table';
import type { Host } from '#protocol';
import { DEFAULT_OVERCOMMIT } from '../../supervisor/volley-processes';
import { svgOf } from '../plot/svg-plot';
import { surroundings } from '../surroundings';
import { benchDensity, type DensityParameters, type DensityResult } from './density.bench';
import { densityPlots } from './density-plots';
import { OwnFleet } from './own-fleet';

interface DensityBenchOptions {
  count: number;
  concurrency: number;
  image: string;
  memory: number;
  plot?: string;
}

export function addDensityBenchCommand(bench: Command): void {
  bench
    .command('density')
    .description(
      'fill one host, on a fleet of its own: start latency and memory over the number of microVMs, and what emptying leaves',
    )
    .option('--count <n>', 'how many, all running at once', wholeNumber(1, 100_000), 4_000)
    .option('--concurrency <n>', 'creates in flight at any time', wholeNumber(1, 10_000), 256)
    .option('--image <name>', 'image', 'canary')
    .option('--memory <MiB>', 'memory of each', memoryOption, 16)
    .option('--plot <file>', 'draw latency, CPU and memory over the number of microVMs, as SVG')
    .action(async (options: DensityBenchOptions, command: Command) => {
      const { out } = contextOf(command);
      const parameters: DensityParameters = {
        ...{ count: options.count, concurrency: options.concurrency },
        ...{ image: options.image, memoryMiB: options.memory },
      };
      const abort = new AbortController();
      const interrupted = (): void => {
        out.note('interrupted: everything of this measurement is ended');
        abort.abort();
      };
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupted);
      const at = new Date().toISOString();
      out.note('bringing up a fleet of its own');
      const fleet = await OwnFleet.up({ ...DEFAULT_OVERCOMMIT, memory: 1_000 });
      let result: DensityResult;
      let around: object;
      try {
        const { items: hosts } = await fleet.client.get<{ items: Host[] }>('/v1/hosts');
        around = surroundings(hosts, fleet.folder.path);
        result = await benchDensity(fleet, parameters, abort.signal, (text) => out.note(text));
      } finally {
        await fleet.down();
      }
      if (options.plot !== undefined) writeFileSync(options.plot, svgOf(densityPlots(result)));
      if (out.json) out.document({ bench: 'density', at, parameters, ...around, result });
      else out.raw(told(parameters, result));
      if (result.leaked.length > 0) throw new CliError(`left behind on the host: ${result.leaked.join(', ')}`);
      if (abort.signal.aborted) process.exitCode = 130;
      else if (result.running < parameters.count) {
        throw new CliError(`${parameters.count - result.running} of ${parameters.count} did not run`);
      }
    });
}

function told({ count, image, memoryMiB, concurrency }: DensityParameters, result: DensityResult): string {
  const { phases, windows, memory, teardown, slowdown } = result;
  const ms = (value: number | undefined): string | undefined => (value === undefined ? undefined : duration(value));
  const mib = (kib: number | null): string => (kib === null ? 'unknown' : `${(kib / 1_024).toFixed(3)} MiB`);
  const { vmms } = memory;
  const each = (kib: number): string => mib(vmms.vmms > 0 ? kib / vmms.vmms : null);
  const lines = [
    `${result.running} of ${count} ${image} microVMs of ${memoryMiB} MiB run at once, ${concurrency} creates in flight: ${duration(result.wallMs)}, ${result.startsPerSecond.toFixed(1)} per second`,
    '',
    table(
      [
        { title: 'STEP', value: ({ name }) => name },
        { title: 'P50', value: ({ at }) => ms(at?.p50), align: 'right' },
        { title: 'P90', value: ({ at }) => ms(at?.p90), align: 'right' },
        { title: 'P99', value: ({ at }) => ms(at?.p99), align: 'right' },
        { title: 'MAX', value: ({ at }) => ms(at?.max), align: 'right' },
        { title: 'MEANING', value: ({ meaning }) => meaning },
      ],
      [
        ...[...START_PHASES, ...START_SPANS].map(({ name, meaning }) => ({ name, meaning, at: phases[name] })),
        { name: 'client', meaning: 'from request to answer, as the caller saw it', at: phases['client'] },
      ],
    ),
    '',
    table(
      [
        { title: 'MICROVMS', value: ({ from, to }) => `${from}-${to}` },
        { title: 'PER SECOND', value: ({ perSecond }) => perSecond?.toFixed(0), align: 'right' },
        { title: 'START P50', value: ({ admissionToGuest }) => ms(admissionToGuest?.p50), align: 'right' },
        { title: 'START P99', value: ({ admissionToGuest }) => ms(admissionToGuest?.p99), align: 'right' },
        ...Object.keys(windows.find(({ cpuMsEach }) => cpuMsEach)?.cpuMsEach ?? {}).map((name) => ({
          title: `CPU ${name.toUpperCase()}`,
          value: ({ cpuMsEach }: (typeof windows)[number]) => ms(cpuMsEach?.[name]),
          align: 'right' as const,
        })),
      ],
      windows,
    ),
    '',
    slowdown === null
      ? 'too few microVMs to compare the last of them with the first'
      : `the last of them against the first: p50 x ${slowdown.p50.toFixed(2)}, p99 x ${slowdown.p99.toFixed(2)}`,
    `host memory of one more microVM beyond its guest pages: ${mib(memory.marginalCostKiB)}; without the growth of the control plane ${mib(memory.marginalCostAloneKiB)}`,
    `VMMs: ${each(vmms.residentKiB)} resident, ${each(vmms.proportionalKiB)} proportional, ${each(vmms.privateKiB)} private, of it ${each(vmms.guestKiB)} guest; mean of ${vmms.vmms}`,
    `deleted: ${duration(teardown.deletedMs)}; all given back: ${teardown.reclaimedMs === null ? 'no' : duration(teardown.reclaimedMs)}`,
    `left behind: ${result.leaked.length === 0 ? 'nothing' : result.leaked.join(', ')}`,
    ...(result.turnedAway > 0 ? [`creates sent again because there was too much under way: ${result.turnedAway}`] : []),
    ...Object.entries(result.failures).map(([reason, times]) => `failed ${times} times: ${reason}`),
  ];
  return `${lines.join('\n')}\n`;
}
