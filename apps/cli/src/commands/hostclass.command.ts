import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { FleetDensity, Host, HostClass } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { table } from '../output/table';
import { contextOf } from './context';
import { toldPolicy } from './told-policy';

type ClassView = HostClass & { hosts: { id: string; state: string; by: string; goesByIt: boolean }[] };

const pathOf = (name: string): string => `/v1/host-classes/${encodeURIComponent(name)}`;

export function addHostClassCommand(program: Command): void {
  const hostclass = program
    .command('hostclass')
    .description('how far hosts of a class are promised, and when their guards shut');
  hostclass
    .command('list', { isDefault: true })
    .description('list the classes on record')
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: ClassView[] }>('/v1/host-classes');
      if (out.json) return out.document({ items });
      out.line(
        table(
          [
            { title: 'CLASS', value: ({ name }) => name },
            { title: 'POLICY', value: ({ policy }) => toldPolicy(policy) },
            { title: 'GUARANTEED', value: ({ guaranteed: g }) => (g ? `cpu ${g.cpu}x, memory ${g.memory}x` : null) },
            { title: 'GUARDS', value: ({ guards }) => Object.keys(guards).join(', ') || 'default' },
            {
              title: 'HOSTS',
              value: ({ hosts }) => `${hosts.filter(({ goesByIt }) => goesByIt).length}/${hosts.length} go by it`,
            },
          ],
          items,
        ),
      );
    });
  hostclass
    .command('set <name>')
    .description('put a class on record, or set anew what its hosts go by: --policy FILE, or a fixed ratio')
    .option('--policy <file>', "JSON with policy, guaranteed and guards; '-' reads standard input")
    .option('--cpu <ratio>', 'most vCPUs per CPU', Number)
    .option('--memory <ratio>', 'most memory per memory of the host', Number)
    .option('--guaranteed-cpu <ratio>', 'of which for the guaranteed', Number)
    .option('--guaranteed-memory <ratio>', 'of which for the guaranteed', Number)
    .action(async (name: string, options: SetOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const set = await client.json<ClassView>('PUT', pathOf(name), { body: settingsOf(options) });
      if (out.json) return out.document(set);
      out.line(`${set.name}: ${toldPolicy(set.policy)}; ${set.hosts.length} hosts`);
    });
  hostclass
    .command('get <name>')
    .description('a class, and what it comes to on each of its hosts, with the data behind it')
    .action(async (name: string, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const found = await client.get<ClassView>(pathOf(name));
      const { hosts } = await client.get<FleetDensity>('/v1/density');
      const inForce = hosts.filter(({ hostId }) => found.hosts.some(({ id }) => id === hostId));
      if (out.json) return out.document({ ...found, inForce: inForce.map(({ hostId, ratio }) => ({ hostId, ratio })) });
      const { policy, guaranteed, guards } = found;
      out.line(JSON.stringify({ policy, ...(guaranteed ? { guaranteed } : {}), guards }, null, 2));
      out.line(
        table(
          [
            { title: 'HOST', value: ({ id }) => id },
            { title: 'STATE', value: ({ state }) => state },
            { title: 'BY', value: ({ by }) => by },
            { title: 'GOES BY IT', value: ({ goesByIt }) => (goesByIt ? 'yes' : 'not yet') },
            { title: 'RATIO', value: ({ id }) => toldRatio(inForce, id) },
            { title: 'WHY', value: ({ id }) => inForce.find(({ hostId }) => hostId === id)?.ratio?.why },
          ],
          found.hosts,
        ),
      );
    });
  hostclass
    .command('rm <name>')
    .description('take a class off the record; its hosts go by their own settings again')
    .action(async (name: string, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const answer = await client.delete<object>(pathOf(name));
      if (out.json) out.document(answer);
      else out.line(`${name} is gone`);
    });
  hostclass
    .command('assign <host> [class]')
    .description('put a host into a class, whatever its agent says; without a class its agent says again')
    .action(async (id: string, name: string | undefined, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const body = { class: name ?? null };
      const host = await client.json<Host>('PUT', `/v1/hosts/${encodeURIComponent(id)}/class`, { body });
      if (out.json) out.document(host);
      else out.line(`${host.id} ${host.hostClass.name} (by its ${host.hostClass.by})`);
    });
}

interface SetOptions {
  policy?: string;
  cpu?: number;
  memory?: number;
  guaranteedCpu?: number;
  guaranteedMemory?: number;
}

/** What is to be put; whether it means something is the gateway's to say. */
export function settingsOf(options: SetOptions): unknown {
  const { policy, cpu, memory, guaranteedCpu, guaranteedMemory } = options;
  if (policy !== undefined) {
    if (Object.keys(options).length > 1) throw usage('give either --policy or ratios, not both');
    const text = readFileSync(policy === '-' ? 0 : policy, 'utf8');
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw usage(`${policy} is no JSON: ${(error as Error).message}`);
    }
  }
  if (cpu === undefined || memory === undefined)
    throw usage('a fixed ratio takes --cpu and --memory; other policies are given as JSON with --policy FILE');
  if ((guaranteedCpu === undefined) !== (guaranteedMemory === undefined))
    throw usage('give both --guaranteed-cpu and --guaranteed-memory, or neither');
  return {
    policy: { kind: 'fixedRatio', cpu, memory },
    ...(guaranteedCpu === undefined ? {} : { guaranteed: { cpu: guaranteedCpu, memory: guaranteedMemory } }),
  };
}

function toldRatio(hosts: FleetDensity['hosts'], id: string): string | null {
  const ratio = hosts.find(({ hostId }) => hostId === id)?.ratio;
  return ratio ? `cpu ${round(ratio.cpu)}x, memory ${round(ratio.memory)}x` : null;
}

const round = (value: number): number => Math.round(value * 100) / 100;

const usage = (message: string): CliError => new CliError(message, ExitCode.usage);
