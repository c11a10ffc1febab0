import type { Command } from 'commander';
import type { Microvm } from '#protocol';
import { clock, duration, mebibytes } from '../output/quantities';
import type { Output } from '../output/output';
import { printable, table } from '../output/table';
import { instant, INSTANT_HELP } from '../past/instant';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';
import { START_PHASES, START_SPANS, spent } from './microvm-timings';

export function addInspectCommand(program: Command): void {
  program
    .command('inspect <id...>')
    .description('show everything about a microVM: its state, why, and how long each step of its start took')
    .option('--at <time>', `as it was at an instant: ${INSTANT_HELP}`)
    .action(async (names: string[], { at }: { at?: string }, command: Command) => {
      const { client, out } = contextOf(command);
      const microvms: Microvm[] = [];
      const query = { at: at === undefined ? undefined : instant(at) };
      for (const name of names) {
        microvms.push(await client.get(`/v1/microvms/${await resolveId(client, name)}`, { query }));
      }
      if (out.json) out.document(microvms.length === 1 ? microvms[0] : microvms);
      else {
        microvms.forEach((microvm, i) => {
          if (i > 0) out.line();
          describe(out, microvm);
        });
      }
    });
}

function describe(out: Output, microvm: Microvm): void {
  const facts: [string, string | number | null][] = [
    ['id', microvm.id],
    ['name', microvm.name],
    ['state', microvm.state + (microvm.reason === null ? '' : ` (${microvm.reason})`)],
    ['image', microvm.image],
    ['size', `${microvm.vcpus} vCPU, ${mebibytes(microvm.memoryMiB)}`],
    ['cmdline', microvm.cmdline],
    [
      'host',
      microvm.hostId === null
        ? null
        : `${microvm.hostId}, epoch ${microvm.epoch}${microvm.pid === null ? '' : `, VMM pid ${microvm.pid}`}`,
    ],
    ['tenant', microvm.tenant],
    [
      'labels',
      Object.entries(microvm.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(' '),
    ],
    ['restart', restartsOf(microvm)],
    ['on host loss', microvm.onHostLoss],
    ['time to live', microvm.ttlSeconds === null ? null : duration(microvm.ttlSeconds * 1_000)],
    [
      'idle stop',
      microvm.idleStop
        ? `below ${microvm.idleStop.cpuPercent} % of a CPU for ${duration(microvm.idleStop.afterSeconds * 1_000)}`
        : null,
    ],
    ['schedule', scheduleOf(microvm)],
    ['protected', microvm.deleteProtection ? 'from being deleted' : null],
    ['class', microvm.class],
    ['exit', microvm.exit ? `${microvm.exit.reason} at ${clock(microvm.exit.at)}: ${microvm.exit.message}` : null],
    ['created', clock(microvm.createdAt)],
    ['updated', `${clock(microvm.updatedAt)}, revision ${microvm.revision}`],
  ];
  for (const [name, value] of facts) out.line(`${name.padEnd(13)} ${printable(value)}`);
  out.line();
  out.line(timingsTable(microvm));
}

function restartsOf({ restartPolicy, restarts, maxRestarts }: Microvm): string {
  return `${restartPolicy}, done ${restarts} times in a row${maxRestarts === undefined ? '' : ` of at most ${maxRestarts}`}`;
}

function scheduleOf({ schedule }: Microvm): string | null {
  const times = Object.entries(schedule ?? {}).map(([what, cron]) => `${what} at '${cron}'`);
  return times.length === 0 ? null : `${times.join(', ')} (UTC)`;
}

export function timingsTable({ timings }: Microvm): string {
  const rows = [...START_PHASES, ...START_SPANS].map((phase) => ({ ...phase, ms: spent(timings, phase) }));
  return table(
    [
      { title: 'STEP OF THE LATEST START', value: ({ meaning }) => meaning },
      { title: 'TOOK', value: ({ ms }) => (ms === undefined ? null : duration(ms)), align: 'right' },
    ],
    rows,
  );
}
