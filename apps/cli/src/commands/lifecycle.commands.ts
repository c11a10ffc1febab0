import type { Command } from 'commander';
import type { Microvm } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { resolveId } from '../rest/resolve-id';
import { type Context, contextOf } from './context';
import { durationOption } from './option-types';

interface LifecycleOptions {
  wait: boolean;
  waitTimeout: number;
  timeout?: number;
  force?: boolean;
}

type Order = (context: Context, id: string, options: LifecycleOptions) => Promise<{ status: number; body: Microvm }>;

export function addLifecycleCommands(program: Command): void {
  add(program, 'pause', 'paused', 'park the vCPUs; memory stays');
  add(program, 'resume', 'running', 'let a paused or suspended microVM go on');
  add(program, 'suspend', 'suspended', 'put its memory on the disk of its host and give its place to others');
  add(program, 'start', 'running', 'start a stopped or failed microVM again');
  add(program, 'kill', 'stopped', 'end its VMM at once');
  add(
    program,
    'stop',
    'stopped',
    'press its power button, and kill it when it has not powered off in time',
    (command) => command.option('--timeout <duration>', 'how long the guest may take to power off', durationOption),
  );
  const remove = add(program, 'rm', 'deleted', 'delete a microVM; its history stays', (command) =>
    command.option('-f, --force', 'also one that has not ended'),
  );
  remove.alias('delete');
}

function add(
  program: Command,
  verb: string,
  target: string,
  description: string,
  more?: (command: Command) => void,
): Command {
  const command = program
    .command(`${verb} <id...>`)
    .description(description)
    .option('--no-wait', `do not wait until it is ${target}`)
    .option('--wait-timeout <duration>', 'how long to wait', durationOption, 30_000);
  more?.(command);
  return command.action(async (names: string[], options: LifecycleOptions, self: Command) => {
    const context = contextOf(self);
    const order: Order = verb === 'rm' ? removal : orderOf(verb);
    const outcomes = await Promise.allSettled(names.map((name) => one(context, name, target, order, options)));
    report(context, names, outcomes);
  });
}

async function one(
  context: Context,
  name: string,
  target: string,
  order: Order,
  options: LifecycleOptions,
): Promise<Microvm> {
  const id = await resolveId(context.client, name);
  const { status, body } = await order(context, id, options);
  if (options.wait && status === 202) {
    throw new CliError(
      `${id} is ${body.state} after ${options.waitTimeout / 1_000} s, not ${target}; it goes on: volley inspect ${id}`,
      ExitCode.timeout,
    );
  }
  return body;
}

const TARGETS: Record<string, string> = { stop: 'stopped', kill: 'stopped', pause: 'paused', suspend: 'suspended' };

function orderOf(verb: string): Order {
  return ({ client }, id, options) =>
    client.answer('POST', `/v1/microvms/${id}/${verb}`, {
      ...waiting(TARGETS[verb] ?? 'running', options),
      body: options.timeout === undefined ? {} : { timeoutMs: options.timeout },
    });
}

const ENDED = ['stopped', 'failed', 'deleting', 'deleted'];

const removal: Order = async ({ client }, id, options) => {
  if (!options.force) {
    const { state } = await client.get<Microvm>(`/v1/microvms/${id}`);
    if (!ENDED.includes(state)) {
      throw new CliError(
        `${id} is ${state}; stop it first, or delete it as it is with: volley rm --force ${id}`,
        ExitCode.refused,
      );
    }
  }
  return client.answer('DELETE', `/v1/microvms/${id}`, waiting('deleted', options));
};

function waiting(state: string, { wait, waitTimeout }: LifecycleOptions) {
  return wait ? { query: { wait: state, timeout: `${waitTimeout}ms` }, deadlineMs: waitTimeout + 10_000 } : {};
}

function report({ out }: Context, names: string[], outcomes: PromiseSettledResult<Microvm>[]): void {
  const done = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  if (out.json) {
    if (done.length > 0) out.document(names.length === 1 ? done[0] : done);
  } else done.forEach(({ id, state }) => out.line(`${id} ${state}`));
  const failures = outcomes.flatMap((outcome, i) =>
    outcome.status === 'rejected' ? [{ name: names[i]!, error: outcome.reason as unknown }] : [],
  );
  const last = failures.pop();
  if (!last) return;
  for (const { name, error } of failures) out.note(`volley: ${name}: ${(error as Error).message}`);
  throw last.error;
}
