import type { Command } from 'commander';
import { writeFileSync } from 'node:fs';
import { contextOf } from '../../commands/context';
import { durationOption, memoryOption, wholeNumber } from '../../commands/option-types';
import { vmmOption } from '../../commands/vmm-option';
import { thisHost } from '../../doctor/host-view';
import { requireVmm } from '../../doctor/require-vmm';
import { CliError } from '../../errors';
import { duration } from '../../output/quantities';
import { table } from '../../output/table';
import type { Host, VmmChoice } from '#protocol';
import { DEFAULT_OVERCOMMIT } from '../../supervisor/volley-processes';
import { phaseTable } from '../phase-table';
import { svgOf } from '../plot/svg-plot';
import { surroundings } from '../surroundings';
import { benchDensity, type DensityParameters, type DensityResult } from './density.bench';
import { densityMedians, type DensityMedians } from './density-medians';
import { densityPlots } from './density-plots';
import { FLEET_READY_MS, OwnFleet } from './own-fleet';

interface DensityBenchOptions {
  count: number;
  concurrency: number;
  image: string;
  memory: number;
  repeat: number;
  vmm: VmmChoice;
  ready: number;
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
    .option(
      '--repeat <n>',
      'do all of it so often, each time on a fleet of its own; gives medians',
      wholeNumber(1, 100),
      1,
    )
    .addOption(vmmOption())
    .option('--ready <duration>', 'how long the fleet may take to come up', durationOption, FLEET_READY_MS)
    .option('--plot <file>', 'draw latency, CPU and memory over the number of microVMs, as SVG')
    .action(async (options: DensityBenchOptions, command: Command) => {
      const { out, data } = contextOf(command);
      const { vmm } = options;
      requireVmm(vmm, thisHost(data));
      const parameters: DensityParameters = {
        ...{ count: options.count, concurrency: options.concurrency },
        ...{ image: options.image, memoryMiB: options.memory, vmm },
      };
      const abort = new AbortController();
      const interrupted = (): void => {
        out.note('interrupted: everything of this measurement is ended');
        abort.abort();
      };
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupted);
      const at = new Date().toISOString();
      const results: DensityResult[] = [];
      let around: object = {};
      while (results.length < options.repeat && !abort.signal.aborted) {
        out.note(`bringing up a fleet of its own${options.repeat > 1 ? `, run ${results.length + 1}` : ''}`);
        const overcommit = { ...DEFAULT_OVERCOMMIT, memory: 1_000 };
        const fleet = await OwnFleet.up({ overcommit, vmm, readyMs: options.ready });
        try {
          const { items: hosts } = await fleet.client.get<{ items: Host[] }>('/v1/hosts');
          around = surroundings(hosts, fleet.folder.path);
          results.push(await benchDensity(fleet, parameters, abort.signal, (text) => out.note(text)));
        } finally {
          await fleet.down();
        }
      }
      const medians = densityMedians(results);
      if (options.plot !== undefined) writeFileSync(options.plot, svgOf(results.flatMap(densityPlots)));
      if (out.json) out.document({ bench: 'density', at, parameters, ...around, medians, results });
      else {
        for (const result of results) out.raw(told(parameters, result));
        if (results.length > 1) out.raw(toldMedians(results.length, medians));
      }
      const leaked = results.flatMap((result) => result.leaked);
      if (leaked.length > 0) throw new CliError(`left behind on the host: ${leaked.join(', ')}`);
      const short = results.find(({ running }) => running < parameters.count);
      if (abort.signal.aborted) process.exitCode = 130;
      else if (short) throw new CliError(`${parameters.count - short.running} of ${parameters.count} did not run`);
    });
}

function toldMedians(runs: number, medians: DensityMedians): string {
  const { wallMs, startsPerSecond, startP50, startP99, slowdownP99, marginalCostKiB, reclaimedMs } = medians;
  const ms = (value: number | null): string => (value === null ? 'unknown' : duration(value));
  return `
medians of ${runs} runs: all run after ${ms(wallMs)}, ${startsPerSecond?.toFixed(1)} per second; start p50 ${ms(startP50)}, p99 ${ms(startP99)}, the last against the first x ${slowdownP99?.toFixed(2) ?? 'unknown'};
one more costs the host ${marginalCostKiB === null ? 'unknown' : `${(marginalCostKiB / 1_024).toFixed(3)} MiB`}; all given back after ${ms(reclaimedMs)}
`;
}

function told({ count, image, memoryMiB, concurrency, vmm }: DensityParameters, result: DensityResult): string {
  const { phases, windows, memory, teardown, slowdown } = result;
  const ms = (value: number | undefined): string | undefined => (value === undefined ? undefined : duration(value));
  const mib = (kib: number | null): string => (kib === null ? 'unknown' : `${(kib / 1_024).toFixed(3)} MiB`);
  const { vmms } = memory;
  const each = (kib: number): string => mib(vmms.vmms > 0 ? kib / vmms.vmms : null);
  const lines = [
    ...(vmm === 'stand-in' ? ['stand-ins for VMMs, without guests: what all the rest costs'] : []),
    `${result.running} of ${count} ${image} microVMs of ${memoryMiB} MiB run at once, ${concurrency} creates in flight: ${duration(result.wallMs)}, ${result.startsPerSecond.toFixed(1)} per second`,
    '',
    phaseTable(phases),
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
