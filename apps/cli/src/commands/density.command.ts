import { Option, type Command } from 'commander';
import type { DensityHistory, DensityReport, FleetDensity, MicrovmDensity, TenantUsage } from '#protocol';
import { mebibytes } from '../output/quantities';
import { table } from '../output/table';
import { instant, INSTANT_HELP } from '../past/instant';
import { contextOf } from './context';
import { historyText, hostDensityText, microvmDensityText, tenantDensityText } from './density-tables';

interface Options {
  host?: string;
  tenant?: string;
  microvm?: string;
  from?: string;
  to?: string;
  step?: string;
}
type HostAnswer = { host: DensityReport };
type TenantAnswer = { tenant: TenantUsage };
type Answer = (FleetDensity | HostAnswer | TenantAnswer) & { history?: DensityHistory };

const pathOf = ({ host, tenant }: Options): string => {
  if (host !== undefined) return `/v1/hosts/${encodeURIComponent(host)}/density`;
  return tenant === undefined ? '/v1/density' : `/v1/tenants/${encodeURIComponent(tenant)}/density`;
};

interface Row {
  name: string;
  microvms: number;
  slots: { total: number; used: number };
  commitment: { vcpus: number; memoryMiB: number };
  used: { cpuCores: number; memoryMiB: number };
  overcommit: { cpu: number; memory: number };
  headroom: { vcpus: number; memoryMiB: number; slots: number; microvms?: number };
  vcpuWaitPercent?: { p99: number };
  limits?: { cpu: number; memory: number };
  pressure?: { cpuSome: number | null; memorySome: number | null };
}

const ratio = (value: number, limit: number | undefined): string =>
  `${value.toFixed(2)}x${limit === undefined ? '' : ` of ${limit}x`}`;
const percent = (value: number | null | undefined): string | null =>
  value === null || value === undefined ? null : `${value.toFixed(1)} %`;

export function addDensityCommand(program: Command): void {
  program
    .command('density')
    .description('how full the hosts are: promised, really used, overcommit ratio, and how much more fits')
    .addOption(new Option('--host <id>', 'where memory and CPU of one host are').conflicts(['tenant', 'microvm']))
    .addOption(new Option('--tenant <id>', 'what one tenant was promised and takes').conflicts(['host', 'microvm']))
    .addOption(
      new Option('--microvm <id>', 'what one microVM takes').conflicts(['host', 'tenant', 'from', 'to', 'step']),
    )
    .option('--from <time>', `the past from then on: ${INSTANT_HELP}`)
    .option('--to <time>', 'the past until then; else until now')
    .option('--step <duration>', "length of a step: '10s' within the last hour, else '1m' and more")
    .action(async (options: Options, command: Command) => {
      const { client, out } = contextOf(command);
      const { host, tenant, microvm, from, to, step } = options;
      if (microvm !== undefined) {
        const measured = await client.get<MicrovmDensity>(`/v1/microvms/${encodeURIComponent(microvm)}/density`);
        return out.json ? out.document(measured) : out.line(microvmDensityText(measured));
      }
      const query = { from: from && instant(from), to: to && instant(to), step };
      const answer = await client.get<Answer>(pathOf(options), { query });
      if (out.json) return out.document(answer);
      if (answer.history) return out.line(historyText(answer.history));
      if (host !== undefined) return out.line(hostDensityText((answer as HostAnswer).host));
      if (tenant !== undefined) return out.line(tenantDensityText((answer as TenantAnswer).tenant));
      const density = answer as FleetDensity;
      const hosts: Row[] = density.hosts.map((host) => ({
        ...host,
        name: host.hostId,
        limits: { cpu: host.overcommit.cpuLimit, memory: host.overcommit.memoryLimit },
      }));
      out.line(
        table<Row>(
          [
            { title: 'HOST', value: ({ name }) => name },
            { title: 'MICROVMS', value: ({ microvms }) => microvms, align: 'right' },
            { title: 'SLOTS', value: ({ slots }) => `${slots.used}/${slots.total}`, align: 'right' },
            {
              title: 'PROMISED',
              value: ({ commitment }) => `${commitment.vcpus} vCPU, ${mebibytes(commitment.memoryMiB)}`,
              align: 'right',
            },
            {
              title: 'USED',
              value: ({ used }) => `${used.cpuCores.toFixed(2)} cores, ${mebibytes(used.memoryMiB)}`,
              align: 'right',
            },
            {
              title: 'CPU RATIO',
              value: ({ overcommit, limits }) => ratio(overcommit.cpu, limits?.cpu),
              align: 'right',
            },
            {
              title: 'MEMORY RATIO',
              value: ({ overcommit, limits }) => ratio(overcommit.memory, limits?.memory),
              align: 'right',
            },
            { title: 'VCPU WAIT P99', value: ({ vcpuWaitPercent }) => percent(vcpuWaitPercent?.p99), align: 'right' },
            { title: 'PSI CPU', value: ({ pressure }) => percent(pressure?.cpuSome), align: 'right' },
            { title: 'PSI MEMORY', value: ({ pressure }) => percent(pressure?.memorySome), align: 'right' },
            {
              title: 'ROOM',
              value: ({ headroom }) =>
                `${headroom.slots} slots, ${mebibytes(headroom.memoryMiB)}${headroom.microvms === undefined ? '' : `, ${headroom.microvms} more`}`,
              align: 'right',
            },
          ],
          [...hosts, { name: 'fleet', ...density.fleet }],
        ),
      );
    });
}
