import type { Command } from 'commander';
import type { FleetDensity } from '#protocol';
import { mebibytes } from '../output/quantities';
import { table } from '../output/table';
import { contextOf } from './context';

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
    .action(async (_options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const density = await client.get<FleetDensity>('/v1/density');
      if (out.json) return out.document(density);
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
