import type { Command } from 'commander';
import { MICROVM_STATES, parseImageReference, type Microvm } from '#protocol';
import { age, mebibytes } from '../output/quantities';
import { table, type Column } from '../output/table';
import { contextOf } from './context';
import { listOption } from './option-types';

interface PsOptions {
  all?: boolean;
  state?: string[];
  host?: string;
  tenant?: string;
  image?: string;
  name?: string;
  label?: string[];
  quiet?: boolean;
}

/** Past and gone; listed with --all or when asked for. */
const GONE = ['stopped', 'failed', 'deleted'];
const LIVING = MICROVM_STATES.filter((state) => !GONE.includes(state));

export function addPsCommand(program: Command): void {
  program
    .command('ps')
    .alias('ls')
    .description('list microVMs, the stopped and failed ones included')
    .option('-a, --all', 'deleted ones too')
    .option('--running', 'only those that hold resources of a host')
    .option('--state <state>', 'only in this state; may be repeated', listOption)
    .option('--host <id>', 'only on this host')
    .option('--tenant <name>', 'only of this tenant')
    .option('--image <name>', 'only of this image')
    .option('--name <name>', 'only with this name')
    .option('--label <key=value>', 'only with this label; may be repeated', (text: string, rest: string[] = []) => [
      ...rest,
      text,
    ])
    .option('-q, --quiet', 'print ids only')
    .action(async (options: PsOptions & { running?: boolean }, command: Command) => {
      const { client, out } = contextOf(command);
      const { host, tenant, image, name, label } = options;
      const state = options.state ?? (options.all ? [...LIVING, ...GONE] : options.running ? LIVING : undefined);
      const items: Microvm[] = [];
      for await (const one of client.pages<Microvm>('/v1/microvms', { state, host, tenant, image, name, label }))
        items.push(one);
      if (out.json) out.document({ items });
      else if (options.quiet) items.forEach(({ id }) => out.line(id));
      else out.line(table(columns(Date.now()), items));
    });
}

const columns = (now: number): Column<Microvm>[] => [
  { title: 'ID', value: ({ id }) => id },
  { title: 'NAME', value: ({ name }) => name },
  // The content that it is pinned to is for `inspect`.
  { title: 'IMAGE', value: ({ image }) => parseImageReference(image).name },
  { title: 'CLASS', value: ({ class: of }) => of },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'HOST', value: ({ hostId }) => hostId },
  { title: 'PID', value: ({ pid }) => pid, align: 'right' },
  { title: 'VCPUS', value: ({ vcpus }) => vcpus, align: 'right' },
  { title: 'MEMORY', value: ({ memoryMiB }) => mebibytes(memoryMiB), align: 'right' },
  { title: 'AGE', value: ({ createdAt }) => age(now - Date.parse(createdAt)), align: 'right' },
  { title: 'REASON', value: ({ reason }) => (reason && reason.length > 60 ? `${reason.slice(0, 57)}...` : reason) },
];
