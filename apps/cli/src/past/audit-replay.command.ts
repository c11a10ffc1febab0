import type { Command } from 'commander';
import type { ReplayReport } from '#fleet';
import { outputOf, type GlobalOptions } from '../commands/context';
import { wholeNumber } from '../commands/option-types';
import { CliError } from '../errors';
import type { Output } from '../output/output';
import { duration } from '../output/quantities';
import { table } from '../output/table';
import { auditorSettings, requireServer, type NatsFlags } from './auditor';

/** Differences that are shown one by one. */
const MOST_SHOWN = 50;

/** Adds `replay` to the command `audit`. */
export function addAuditReplay(audit: Command): void {
  audit
    .command('replay')
    .description(
      'fold every history anew and prove that each controller and gateway holds the same; exit code 1 if not',
    )
    .option('--nats-url <url>', 'servers, separated by commas; else those of the data folder')
    .option('--nats-nkey-file <file>', 'seed of the key of the auditor; else that of the data folder')
    .option('--nats-token-file <file>', 'token, for servers that know no keys')
    .option('--nats-ca-file <file>', 'certificate of the authority of the servers')
    .option('--nats-replicas <n>', 'on how many servers streams are kept', wholeNumber(1, 5), 1)
    .action(async (flags: NatsFlags, command: Command) => {
      const out = outputOf(command);
      const report = await replay(command.optsWithGlobals<GlobalOptions>().data, flags);
      if (out.json) out.document(report);
      else tell(out, report);
      if (report.views.length === 0) throw new CliError('no controller and no gateway answered: nothing was proven');
      if (!report.ok) throw new CliError('replay does not equal live');
    });
}

async function replay(data: string, flags: NatsFlags): Promise<ReplayReport> {
  // Not needed by any other command, and slow to load.
  const [{ auditReplay }, { BusClient, connectNats, natsOptions }, { pino }] = await Promise.all([
    import('#fleet'),
    import('#bus'),
    import('pino'),
  ]);
  const settings = auditorSettings(data, flags);
  await requireServer(settings.natsUrl);
  const nats = await connectNats({ ...natsOptions(settings, 'auditor'), name: 'volley-audit' });
  try {
    return await auditReplay(new BusClient(nats, pino({ level: 'silent' })));
  } finally {
    await nats.close();
  }
}

function tell(out: Output, { records, living, replayMs, views, differences, illegal }: ReplayReport): void {
  const all = records.microvm + records.host + records.group;
  const rate = Math.round((all / Math.max(1, replayMs)) * 1_000);
  out.line(
    `Replayed ${records.microvm} records of microVMs, ${records.host} of hosts and ${records.group} of groups ` +
      `in ${duration(replayMs)} (${rate} records/s): ` +
      `${living.microvm} microVMs, ${living.host} hosts and ${living.group} groups live.`,
  );
  out.line();
  out.line(
    table(
      [
        { title: 'LIVE VIEW', value: ({ instance }) => instance },
        { title: 'OF', value: ({ kind }) => `${kind}s` },
        { title: 'COMPARED', value: ({ compared }) => compared, align: 'right' },
        { title: 'LIVE', value: ({ liveHash }) => liveHash },
        {
          title: 'REPLAY',
          value: ({ liveHash, replayedHash }) => (liveHash === replayedHash ? 'the same' : replayedHash),
        },
      ],
      views,
    ),
  );
  const wrong = [
    ...differences.map(({ instance, kind, id, live, replayed }) => {
      const told = (one: { revision: number; digest: string } | null): string =>
        one ? `revision ${one.revision} ${one.digest.slice(0, 12)}` : 'nothing';
      return `${kind} ${id}: ${instance} has ${told(live)}, the histories give ${told(replayed)}`;
    }),
    ...illegal.map(
      ({ kind, id, sequence, message }) => `${kind} ${id}: record ${sequence} is not of its machine: ${message}`,
    ),
  ];
  out.line();
  for (const line of wrong.slice(0, MOST_SHOWN)) out.line(line);
  if (wrong.length > MOST_SHOWN) out.line(`... and ${wrong.length - MOST_SHOWN} more; --json shows all`);
  if (wrong.length === 0 && views.length > 0) out.line('Replay equals live.');
}
