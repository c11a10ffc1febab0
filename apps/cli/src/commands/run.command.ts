import { Option, type Command } from 'commander';
import type { Microvm, MicrovmSpecInput } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import { contextOf } from './context';
import { START_SPANS, spent } from './microvm-timings';
import {
  diskOption,
  durationOption,
  forwardOption,
  idleOption,
  labelOption,
  listOption,
  memoryOption,
  variableOption,
  wholeNumber,
  type DiskOption,
  type ForwardOption,
  type IdleOption,
} from './option-types';
import { addPlacementOptions, placementOf, type PlacementOptions } from './placement-options';

interface RunOptions extends PlacementOptions {
  name?: string;
  vcpus?: number;
  memory?: number;
  cmdline?: string;
  label?: Record<string, string>;
  tenant?: string;
  class?: MicrovmSpecInput['class'];
  restart?: MicrovmSpecInput['restartPolicy'];
  onHostLoss?: MicrovmSpecInput['onHostLoss'];
  ttl?: number;
  maxRestarts?: number;
  stopTimeout?: number;
  idleStop?: IdleOption;
  idleSuspend?: IdleOption;
  wakeOnPacket?: true;
  wakeOnVsock?: true;
  template?: string;
  startAt?: string;
  stopAt?: string;
  protect?: boolean;
  waitCapacity?: number;
  wait?: string;
  timeout: number;
  idempotencyKey?: string;
  quiet?: boolean;
  entrypoint?: string;
  env?: Record<string, string>;
  user?: string;
  workdir?: string;
  hostname?: string;
  rootDisk?: number;
  disk?: DiskOption[];
  network?: 'open' | 'listed' | 'none';
  allow?: string[];
  publish?: ForwardOption[];
  metadata?: Record<string, string>;
}

export function addRunCommand(program: Command): void {
  addPlacementOptions(program.command('run [image] [command...]'))
    .description('create a microVM and start it; after --, what it runs instead of what its image says')
    .option('--template <template>', 'start as a clone of this template (id or name), in place of an image')
    .option('--name <name>', 'a name for people')
    .option('--vcpus <n>', 'virtual CPUs (default 1)', wholeNumber(0))
    .option('--memory <MiB>', 'memory, in MiB or as 2G (default 128)', memoryOption)
    .option('--cmdline <text>', 'kernel command line')
    .option('--label <key=value>', 'a label; may be repeated', labelOption)
    .option('--tenant <name>', 'its owner')
    .addOption(
      new Option('--class <class>', 'guaranteed (default), or what takes the rest and may be evicted').choices([
        'guaranteed',
        'bestEffort',
      ]),
    )
    .option('--restart <policy>', 'never, on-failure or always')
    .option('--on-host-loss <what>', 'keep or reschedule')
    .option('--max-restarts <n>', 'how often in a row it is started again', wholeNumber(0))
    .option('--ttl <duration>', 'delete it after this time, such as 90s or 2h', durationOption)
    .option('--stop-timeout <duration>', 'how long it may take to power off (default 10s)', durationOption)
    .option('--idle-stop <duration[:percent]>', 'stop it when nobody used it so long', idleOption)
    .option('--idle-suspend <duration[:percent]>', 'suspend it to disk when nobody used it so long', idleOption)
    .option('--wake-on-packet', 'suspended, let it go on when somebody comes to a port of its host that it publishes')
    .option('--wake-on-vsock', 'suspended, let it go on when a program of its host connects to it by vsock')
    .option('--start-at <cron>', "start it then, in UTC, such as '0 8 * * mon-fri'")
    .option('--stop-at <cron>', 'stop it then')
    .option(
      '--wait-capacity <duration>',
      'how long it may wait for a host that can take it (default 30s)',
      durationOption,
    )
    .option('--protect', 'refuse to delete it until that is lifted')
    .option('--entrypoint <program>', 'what runs, instead of what the image says; an empty one: the command alone')
    .option('-e, --env <name=value>', 'added to the environment; may be repeated', variableOption)
    .option('-u, --user <user>', 'name or number, with :GROUP behind it if wanted')
    .option('-w, --workdir <path>', 'where it runs')
    .option('--hostname <name>', 'what it calls itself (default: its name or id)')
    .option('--root-disk <MiB>', 'room for what it writes', memoryOption)
    .option(
      '--disk <MiB[:path|:empty|:ext4]>',
      "a further disk, mounted there; of a clone: one of its template's, or a fresh one; may be repeated",
      diskOption,
    )
    .addOption(new Option('--network <what>', 'what it may reach').choices(['open', 'listed', 'none']))
    .option(
      '--allow <destination>',
      'an address or network, with :PORT if wanted; implies --network listed',
      listOption,
    )
    .option('-p, --publish <port:port[/udp]>', 'hand connections to a port of the host on to it', forwardOption)
    .option('--metadata <key=value>', 'a value that it can read; may be repeated', labelOption)
    .option('--wait <state>', 'answer when it is in this state: running')
    .option('--timeout <duration>', 'how long to wait', durationOption, 20_000)
    .option('--idempotency-key <key>', 'the same key twice makes one microVM')
    .option('-q, --quiet', 'print the id only')
    .action(async (image: string | undefined, words: string[], options: RunOptions, command: Command) => {
      const { client, out } = contextOf(command);
      if ((image === undefined) === (options.template === undefined)) {
        throw new CliError('name an image, or a template with --template, and not both', ExitCode.usage);
      }
      if (options.idleStop && options.idleSuspend) {
        throw new CliError('--idle-stop and --idle-suspend exclude each other', ExitCode.usage);
      }
      const body = {
        image,
        template: options.template,
        name: options.name,
        vcpus: options.vcpus,
        memoryMiB: options.memory,
        cmdline: options.cmdline,
        labels: options.label,
        tenant: options.tenant,
        class: options.class,
        restartPolicy: options.restart,
        onHostLoss: options.onHostLoss,
        maxRestarts: options.maxRestarts,
        ttlSeconds: seconds(options.ttl),
        stopTimeoutSeconds: seconds(options.stopTimeout),
        wakeOn: wakeSources(options),
        idleStop: options.idleSuspend ? { ...options.idleSuspend, action: 'suspend' as const } : options.idleStop,
        schedule:
          options.startAt === undefined && options.stopAt === undefined
            ? undefined
            : { start: options.startAt, stop: options.stopAt },
        deleteProtection: options.protect,
        placement: placementOf(options),
        waitSeconds: seconds(options.waitCapacity),
        entrypoint:
          options.entrypoint === undefined ? undefined : options.entrypoint === '' ? [] : [options.entrypoint],
        command: words.length === 0 ? undefined : words,
        env: options.env,
        user: options.user,
        workdir: options.workdir,
        hostname: options.hostname,
        rootDiskMiB: options.rootDisk,
        disks: options.disk,
        network: networkOf(options),
        metadata: options.metadata,
      };
      const { status, body: microvm } = await client.answer<Microvm>('POST', '/v1/microvms', {
        body,
        query: options.wait === undefined ? {} : { wait: options.wait, timeout: `${options.timeout}ms` },
        headers: options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey },
        deadlineMs: options.wait === undefined ? 15_000 : options.timeout + 10_000,
      });
      if (out.json) out.document(microvm);
      else out.line(options.quiet ? microvm.id : lineOf(microvm));
      if (options.wait !== undefined && status === 202) {
        throw new CliError(
          `${microvm.id} is ${microvm.state} after ${duration(options.timeout)}, not ${options.wait}; it goes on: volley inspect ${microvm.id}`,
          ExitCode.timeout,
        );
      }
    });
}

function wakeSources({ wakeOnPacket, wakeOnVsock }: RunOptions): MicrovmSpecInput['wakeOn'] {
  const sources = [...(wakeOnPacket ? ['packet' as const] : []), ...(wakeOnVsock ? ['vsock' as const] : [])];
  return sources.length > 0 ? sources : undefined;
}

/** Policies count in whole seconds; never less than was asked for. */
function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.ceil(ms / 1_000);
}

/** Absent: as the image has it. */
function networkOf({ network, allow, publish }: RunOptions): MicrovmSpecInput['network'] {
  if (network === 'none') {
    if (allow || publish) throw new CliError('--allow and --publish need a network', ExitCode.usage);
    return 'none';
  }
  if (!network && !allow && !publish) return undefined;
  if (network === 'open' && allow) throw new CliError('--allow means nothing with --network open', ExitCode.usage);
  const egress = allow ? 'listed' : (network ?? 'open');
  return { egress, ...(allow ? { allow } : {}), ...(publish ? { forwards: publish } : {}) };
}

/** One line: the id first, for scripts. */
function lineOf({ id, name, state, hostId, timings }: Microvm): string {
  const whole = spent(timings, START_SPANS[1]!);
  return [
    id,
    name ?? undefined,
    state,
    hostId && `on ${hostId}`,
    state === 'running' && whole !== undefined && `after ${duration(whole)}`,
  ]
    .filter(Boolean)
    .join(' ');
}
