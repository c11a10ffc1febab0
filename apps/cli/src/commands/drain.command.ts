import { Option, type Command } from 'commander';
import type { Drain, DrainPlan, DrainStep, Host } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import { table } from '../output/table';
import { contextOf, type Context } from './context';
import { durationOption, wholeNumber } from './option-types';

interface DrainOptions {
  preview?: boolean;
  cancel?: boolean;
  wait?: boolean;
  waitTimeout: number;
  parallel?: number;
  grace?: number;
  kept?: 'wait' | 'stop';
}

/** How often a host is looked at while a drain is waited for, ms. */
const LOOK_MS = 1_000;

export function addDrainCommand(program: Command): void {
  program
    .command('drain <host>')
    .description('empty a host: move its microVMs elsewhere, or wait for their end')
    .option('--preview', 'show what would become of each microVM, and change nothing')
    .option('--cancel', 'end a drain; the host is as it was before, and what was not touched stays')
    .option('--parallel <n>', 'how many are moved or stopped at a time; default 4', wholeNumber(1, 256))
    .option('--grace <time>', 'how long a guest may take to power off before it is killed; default 10s', durationOption)
    .addOption(
      new Option(
        '--kept <what>',
        'those that stay with their host (on-host-loss keep) are waited for, or stopped',
      ).choices(['wait', 'stop']),
    )
    .option('--wait', 'return when nothing runs there any more')
    .option('--wait-timeout <time>', 'how long to wait', durationOption, 3_600_000)
    .action(async (host: string, options: DrainOptions, command: Command) => {
      const context = contextOf(command);
      const path = `/v1/hosts/${encodeURIComponent(host)}`;
      if (options.preview) return preview(context, path, options);
      if (options.cancel) return report(context, await context.client.json<Host>('DELETE', `${path}/drain`, {}));
      const { parallel, grace: graceMs, kept } = options;
      const body = { parallel, graceMs, kept }; // JSON leaves out what is undefined
      const asked = await context.client.post<Host>(`${path}/drain`, { body });
      report(context, options.wait ? await waitFor(context, path, options.waitTimeout) : asked);
    });
}

async function preview({ client, out }: Context, path: string, { parallel, grace, kept }: DrainOptions): Promise<void> {
  const plan = await client.get<DrainPlan>(`${path}/drain-plan`, {
    query: {
      ...(parallel === undefined ? {} : { parallel: String(parallel) }),
      ...(grace === undefined ? {} : { grace: `${grace}ms` }),
      ...(kept === undefined ? {} : { kept }),
    },
  });
  if (out.json) return out.document(plan);
  if (plan.steps.length > 0) {
    out.line(
      table<DrainStep>(
        [
          { title: 'MICROVM', value: ({ microvmId }) => microvmId },
          { title: 'NAME', value: ({ name }) => name ?? '' },
          { title: 'TENANT', value: ({ tenant }) => tenant },
          { title: 'STATE', value: ({ state }) => state },
          { title: 'FATE', value: ({ fate }) => FATES[fate] },
          { title: 'TO', value: ({ to }) => to ?? '' },
          { title: 'LOSES', value: ({ loses }) => loses.join(', ') },
          { title: 'REASON', value: ({ reason }) => reason },
        ],
        plan.steps,
      ),
    );
  }
  if (plan.omitted > 0) out.line(`and ${plan.omitted} more`);
  const counts = Object.entries(plan.counts).filter(([, count]) => count > 0);
  const told = counts.map(([fate, count]) => `${count} ${FATES[fate as DrainStep['fate']]}`);
  const { leastMs, mostMs } = plan.estimate;
  out.line(told.length === 0 ? 'nothing runs there' : told.join(', '));
  out.line(
    `moves and stops, ${plan.parallel} at a time: ${duration(leastMs)} to ${duration(mostMs)}; waiting is not in it`,
  );
}

const FATES: Readonly<Record<DrainStep['fate'], string>> = {
  moves: 'moves',
  waitsForRoom: 'waits for room',
  waitsForItsEnd: 'waits for its end',
  stops: 'stops',
  settles: 'settles first',
};

async function waitFor({ client, out }: Context, path: string, ms: number): Promise<Host> {
  let told = '';
  for (const end = Date.now() + ms; ;) {
    const host = await client.get<Host>(path);
    if (host.state === 'drained') return host;
    if (!host.drain) throw new CliError(`${host.id} is ${host.state}: its drain was cancelled`, ExitCode.refused);
    const progress = progressOf(host.drain);
    if (progress !== told) out.note(`${host.id} ${host.state}: ${progress}`);
    told = progress;
    if (Date.now() > end)
      throw new CliError(`${host.id} is not empty after ${duration(ms)}; the drain goes on`, ExitCode.timeout);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function report({ out }: Context, host: Host): void {
  if (out.json) out.document(host);
  else out.line(host.drain ? `${host.id} ${host.state}: ${progressOf(host.drain)}` : `${host.id} ${host.state}`);
}

/** How far a drain has come, in a few words. */
export function progressOf({ progress }: Drain): string {
  const { total, moved, moving, waiting, stopped, failed } = progress;
  const parts = Object.entries({ moved, stopped, failed, moving, waiting }).filter(([, count]) => count > 0);
  return total === 0 ? 'nothing to move yet' : `${parts.map(([what, n]) => `${n} ${what}`).join(', ')} of ${total}`;
}
