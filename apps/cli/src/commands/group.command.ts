import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import type { Group, GroupHistoryEntry, GroupSummary, MicrovmSpecInput } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { age, clock } from '../output/quantities';
import { table } from '../output/table';
import { instant, INSTANT_HELP } from '../past/instant';
import { contextOf, type Context } from './context';
import { wholeNumber } from './option-types';

interface RolloutOptions {
  tenant?: string;
  maxSurge?: number;
  maxUnavailable?: number;
}

/** `volley group ...`: so many microVMs of one spec. */
export function addGroupCommand(program: Command): void {
  const group = program.command('group').description('keep so many microVMs of one spec running');
  group
    .command('list', { isDefault: true })
    .description('list groups')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: GroupSummary[] }>('/v1/groups');
      if (out.json) out.document({ items });
      else out.line(groupsTable(items));
    });
  withRollout(group.command('create <name> <replicas> <spec-file>'))
    .description('create a group; the file holds the spec of a member as JSON, - is standard input')
    .action(async (name: string, replicas: string, file: string, options: RolloutOptions, command: Command) => {
      const context = contextOf(command);
      const body = { name, replicas: wholeNumber(0)(replicas), spec: specIn(file, options), ...rollout(options) };
      show(context, await context.client.post<Group>('/v1/groups', { body }));
    });
  of(group.command('get <name>'))
    .description('show a group and its members, as it is or as it was')
    .option('--at <time>', `the instant: ${INSTANT_HELP}`)
    .action(async (name: string, { at, ...options }: RolloutOptions & { at?: string }, command: Command) => {
      const context = contextOf(command);
      const query = { at: at === undefined ? undefined : instant(at) };
      show(context, await context.client.get<Group>(pathOf(name, options), { query }));
    });
  of(group.command('scale <name> <replicas>'))
    .description('change how many members it keeps')
    .action(async (name: string, replicas: string, options: RolloutOptions, command: Command) => {
      const context = contextOf(command);
      const body = { replicas: wholeNumber(0)(replicas) };
      show(context, await context.client.post<Group>(`${pathOf(name, options)}/scale`, { body }));
    });
  withRollout(group.command('replace <name> <spec-file>'))
    .description('replace its spec, and its members one after another; the old spec rolls it back')
    .action(async (name: string, file: string, options: RolloutOptions, command: Command) => {
      const context = contextOf(command);
      const body = { spec: specIn(file, options), ...rollout(options) };
      const path = `${pathOf(name, options)}/spec`;
      show(context, (await context.client.answer<Group>('PUT', path, { body })).body);
    });
  of(group.command('rm <name>'))
    .alias('delete')
    .description('delete it and its members; its history stays')
    .action(async (name: string, options: RolloutOptions, command: Command) => {
      const context = contextOf(command);
      show(context, (await context.client.answer<Group>('DELETE', pathOf(name, options), {})).body);
    });
  of(group.command('history <name>'))
    .description('what was decided about it and its members')
    .action(async (name: string, options: RolloutOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const history = await client.get<{ entries: GroupHistoryEntry[] }>(`${pathOf(name, options)}/history`);
      if (out.json) return out.document(history);
      for (const { at, cause, events } of history.entries) {
        for (const event of events) out.line(`${clock(at)}  ${cause.by}  ${told(event)}`);
      }
    });
}

function of(command: Command): Command {
  return command.option('--tenant <name>', 'whose it is (default: default)');
}

function withRollout(command: Command): Command {
  return of(command)
    .option('--max-surge <n>', 'members more than wanted that a replacement may have (default 1)', wholeNumber(0))
    .option('--max-unavailable <n>', 'members fewer that may be available meanwhile (default 0)', wholeNumber(0));
}

function rollout({ maxSurge, maxUnavailable }: RolloutOptions) {
  return {
    ...(maxSurge === undefined ? {} : { maxSurge }),
    ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
  };
}

/** A name, or the id as lists show it. */
function pathOf(name: string, { tenant = 'default' }: RolloutOptions): string {
  return `/v1/groups/${encodeURIComponent(name.includes('_') ? name : `${tenant}_${name}`)}`;
}

function specIn(file: string, { tenant }: RolloutOptions): MicrovmSpecInput {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CliError(`${file} cannot be read: ${(error as Error).message}`, ExitCode.usage);
  }
  try {
    const spec = JSON.parse(text) as MicrovmSpecInput;
    return tenant === undefined ? spec : { ...spec, tenant };
  } catch (error) {
    throw new CliError(`${file} holds no JSON: ${(error as Error).message}`, ExitCode.usage);
  }
}

function show({ out }: Context, group: Group): void {
  if (out.json) return out.document(group);
  out.line(groupsTable([group]));
  if (group.rollout.reason !== null) out.line(`halted: ${group.rollout.reason}`);
  if (group.members.length === 0) return;
  out.line();
  out.line(
    table(
      [
        { title: 'MEMBER', value: ({ microvmId }) => microvmId },
        { title: 'SPEC', value: ({ specRevision }) => specRevision, align: 'right' },
        { title: 'STATE', value: ({ state }) => state },
        { title: 'REASON', value: ({ reason }) => reason },
      ],
      group.members,
    ),
  );
}

/** `now`: the time from which ages are counted, ms since 1970. */
export function groupsTable(groups: readonly GroupSummary[], now = Date.now()): string {
  return table(
    [
      { title: 'GROUP', value: ({ id }) => id },
      { title: 'STATE', value: ({ state }) => state },
      { title: 'READY', value: ({ counts, replicas }) => `${counts.ready}/${replicas}`, align: 'right' },
      { title: 'OUTDATED', value: ({ counts }) => counts.outdated, align: 'right' },
      { title: 'LEAVING', value: ({ counts }) => counts.leaving, align: 'right' },
      { title: 'ROLLOUT', value: ({ rollout: { state } }) => state },
      { title: 'SPEC', value: ({ specRevision }) => specRevision, align: 'right' },
      { title: 'IMAGE', value: ({ image }) => image },
      { title: 'AGE', value: ({ createdAt }) => age(now - Date.parse(createdAt)), align: 'right' },
    ],
    groups,
  );
}

function told({ type, ...rest }: GroupHistoryEntry['events'][number]): string {
  const words = ['microvmId', 'replicas', 'image', 'reason'].flatMap((field) =>
    rest[field] === undefined ? [] : [String(rest[field])],
  );
  return [type, ...words].join(' ');
}
