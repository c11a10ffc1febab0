import type { Command } from 'commander';
import type { Microvm, MicrovmSpecInput } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import { contextOf } from './context';
import { START_SPANS, spent } from './microvm-timings';
import { durationOption, labelOption, memoryOption, wholeNumber } from './option-types';

interface RunOptions {
  name?: string;
  vcpus?: number;
  memory?: number;
  cmdline?: string;
  label?: Record<string, string>;
  tenant?: string;
  restart?: MicrovmSpecInput['restartPolicy'];
  onHostLoss?: MicrovmSpecInput['onHostLoss'];
  ttl?: number;
  wait?: string;
  timeout: number;
  idempotencyKey?: string;
  quiet?: boolean;
}

export function addRunCommand(program: Command): void {
  program
    .command('run <image>')
    .description('create a microVM and start it')
    .option('--name <name>', 'a name for people')
    .option('--vcpus <n>', 'virtual CPUs (default 1)', wholeNumber(0))
    .option('--memory <MiB>', 'memory, in MiB or as 2G (default 128)', memoryOption)
    .option('--cmdline <text>', 'kernel command line')
    .option('--label <key=value>', 'a label; may be repeated', labelOption)
    .option('--tenant <name>', 'its owner')
    .option('--restart <policy>', 'never, on-failure or always')
    .option('--on-host-loss <what>', 'keep or reschedule')
    .option('--ttl <duration>', 'delete it after this time, such as 90s or 2h', durationOption)
    .option('--wait <state>', 'answer when it is in this state: running')
    .option('--timeout <duration>', 'how long to wait', durationOption, 20_000)
    .option('--idempotency-key <key>', 'the same key twice makes one microVM')
    .option('-q, --quiet', 'print the id only')
    .action(async (image: string, options: RunOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const body = {
        image,
        name: options.name,
        vcpus: options.vcpus,
        memoryMiB: options.memory,
        cmdline: options.cmdline,
        labels: options.label,
        tenant: options.tenant,
        restartPolicy: options.restart,
        onHostLoss: options.onHostLoss,
        ttlSeconds: options.ttl === undefined ? undefined : Math.ceil(options.ttl / 1_000),
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
