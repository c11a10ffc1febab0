import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Template } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { age } from '../output/quantities';
import { table } from '../output/table';
import { resolveId } from '../rest/resolve-id';
import { contextOf, type Context } from './context';
import { durationOption, wholeNumber } from './option-types';

const POLL_MS = 50;

interface CreateOptions {
  name?: string;
  end?: boolean;
  wait: boolean;
  waitTimeout: number;
}

/** `volley template ...`: snapshots of booted microVMs, from which clones start. */
export function addTemplateCommand(program: Command): void {
  const template = program.command('template').description('templates, from which clones start in milliseconds');
  template
    .command('ls', { isDefault: true })
    .alias('list')
    .description('list templates')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: Template[] }>('/v1/templates');
      if (out.json) out.document({ items });
      else out.line(templatesTable(items));
    });
  template
    .command('create <microvm>')
    .description('make a template of a running or paused microVM')
    .option('--name <name>', 'a name for people; the newest one of a name stands for it')
    .option('--end', 'end the microVM when it is made')
    .option('--no-wait', 'do not wait until it is ready')
    .option('--wait-timeout <duration>', 'how long to wait', durationOption, 120_000)
    .action(async (microvm: string, options: CreateOptions, command: Command) => {
      const context = contextOf(command);
      const { client } = context;
      const body = {
        microvmId: await resolveId(client, microvm),
        name: options.name,
        afterwards: options.end ? 'end' : 'resume',
      };
      const made = await client.post<Template>('/v1/templates', { body });
      show(context, options.wait ? await settled(context, made, options.waitTimeout) : made);
    });
  template
    .command('inspect <template>')
    .description('show a template')
    .action(async (name: string, _options: object, command: Command) => {
      const context = contextOf(command);
      context.out.document(await find(context, name));
    });
  template
    .command('rm <template...>')
    .alias('delete')
    .description('delete templates; clones that run go on')
    .action(async (names: string[], _options: object, command: Command) => {
      const context = contextOf(command);
      for (const name of names) {
        const { id } = await find(context, name);
        show(context, (await context.client.answer<Template>('DELETE', `/v1/templates/${id}`, {})).body);
      }
    });
}

interface PoolOptions {
  min?: number;
  quiet?: number;
}

/** `volley pool ...`: warm clones. */
export function addPoolCommand(program: Command): void {
  const pool = program.command('pool').description('warm clones of templates, kept ready on their hosts');
  pool
    .command('ls', { isDefault: true })
    .alias('list')
    .description('list templates that have a pool')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: Template[] }>('/v1/templates');
      const pooled = items.filter((one) => one.pool !== null);
      if (out.json) return out.document({ items: pooled });
      out.line(
        table(
          [
            { title: 'TEMPLATE', value: ({ id }) => id },
            { title: 'NAME', value: ({ name }) => name },
            { title: 'MIN', value: ({ pool: policy }) => policy?.min, align: 'right' },
            { title: 'MAX', value: ({ pool: policy }) => policy?.max, align: 'right' },
            { title: 'QUIET', value: ({ pool: policy }) => `${policy?.quietSeconds} s`, align: 'right' },
            { title: 'HOSTS', value: ({ hosts }) => hosts.length, align: 'right' },
          ],
          pooled,
        ),
      );
    });
  pool
    .command('set <template> <max>')
    .description('keep warm clones of a template ready, at most so many on each host; 0: none')
    .option('--min <n>', 'at least so many, whatever the demand', wholeNumber(0))
    .option('--quiet <duration>', 'without a start for this long, keep the least (default 5m)', durationOption)
    .action(async (name: string, max: string, { min, quiet }: PoolOptions, command: Command) => {
      const context = contextOf(command);
      const { id } = await find(context, name);
      const body = {
        max: wholeNumber(0)(max),
        ...(min === undefined ? {} : { min }),
        ...(quiet === undefined ? {} : { quietSeconds: Math.ceil(quiet / 1_000) }),
      };
      show(context, (await context.client.answer<Template>('PUT', `/v1/templates/${id}/pool`, { body })).body);
    });
}

/** By id, or the newest one of a name. */
async function find({ client }: Context, name: string): Promise<Template> {
  const { items } = await client.get<{ items: Template[] }>('/v1/templates');
  const found = items.find(({ id }) => id === name) ?? items.findLast((one) => one.name === name);
  if (!found) throw new CliError(`there is no template ${name}; volley template ls shows them`, ExitCode.notFound);
  return found;
}

async function settled({ client }: Context, made: Template, timeoutMs: number): Promise<Template> {
  const until = performance.now() + timeoutMs;
  let template = made;
  while (template.state === 'creating') {
    if (performance.now() > until) {
      const message = `template ${made.id} is still being made after ${timeoutMs / 1_000} s; it goes on: volley template inspect ${made.id}`;
      throw new CliError(message, ExitCode.timeout);
    }
    await pause(POLL_MS);
    template = await client.get<Template>(`/v1/templates/${made.id}`);
  }
  if (template.state !== 'ready') {
    throw new CliError(
      `template ${made.id} ${template.state}: ${template.reason ?? 'no reason was given'}`,
      ExitCode.failed,
    );
  }
  return template;
}

function show({ out }: Context, template: Template): void {
  if (out.json) out.document(template);
  else out.line(templatesTable([template]));
}

function templatesTable(templates: readonly Template[]): string {
  const now = Date.now();
  return table(
    [
      { title: 'TEMPLATE', value: ({ id }) => id },
      { title: 'NAME', value: ({ name }) => name },
      { title: 'STATE', value: ({ state }) => state },
      { title: 'IMAGE', value: ({ image }) => image },
      { title: 'MEMORY', value: ({ memoryMiB }) => `${memoryMiB} MiB`, align: 'right' },
      {
        title: 'SIZE',
        value: ({ bytes }) => (bytes === null ? '' : `${(bytes / 2 ** 20).toFixed(1)} MiB`),
        align: 'right',
      },
      { title: 'PAUSE', value: ({ pauseMs }) => (pauseMs === null ? '' : `${pauseMs.toFixed(1)} ms`), align: 'right' },
      { title: 'HOSTS', value: ({ hosts }) => hosts.length, align: 'right' },
      { title: 'STORED', value: ({ stored, storeProblem }) => (stored ? 'yes' : (storeProblem ?? 'not yet')) },
      { title: 'AGE', value: ({ createdAt }) => age(now - createdAt), align: 'right' },
      { title: 'REASON', value: ({ reason }) => reason },
    ],
    templates,
  );
}
