import { platformDifference } from '#protocol';
import type { Demand } from './demand';
import type { HostRow, HostTable } from './host-table';

/** A report older than this says nothing about a host, ms. */
export const REPORT_MAX_AGE_MS = 5_000;

/** What a decision is made on. */
export interface Occasion {
  table: HostTable;
  demand: Demand;
  /** ms since 1970. */
  at: number;
}

export interface Filter {
  name: string;
  /** Waiting does not help: what the host is and what is asked for do not go together. */
  lasting?: true;
  /** Whether it can refuse a host at all; absent: always. */
  concerns?(demand: Demand): boolean;
  passes(host: HostRow, occasion: Occasion): boolean;
  /** The numbers behind the verdict, for the receipt. */
  detail(host: HostRow, occasion: Occasion): string;
  /** What an operator can do where most hosts fail here. */
  remedy?: string;
}

const MIB = 2 ** 20;
const DELETE_OR_ADD = 'delete microVMs, raise VOLLEY_SLOTS or add a host';

/** All of them have to pass. The ones that fail most often on a full fleet come first. */
export const FILTERS: readonly Filter[] = [
  {
    name: 'state',
    passes: ({ state }) => state === 'ready',
    detail: ({ state }) => state,
    remedy: 'volley hosts says why they are not ready',
  },
  {
    name: 'slots',
    passes: ({ free }) => free.slots >= 1,
    detail: ({ free }) => `${free.slots} free`,
    remedy: DELETE_OR_ADD,
  },
  {
    name: 'memory',
    passes: ({ free }, { demand }) => free.memoryMiB >= demand.memoryMiB,
    detail: ({ free }, { demand }) => `${round(free.memoryMiB)} MiB free, ${demand.memoryMiB} asked`,
    remedy: 'delete microVMs, ask for less memory or add a host',
  },
  {
    name: 'vcpus',
    passes: ({ free }, { demand }) => free.vcpus >= demand.vcpus,
    detail: ({ free }, { demand }) => `${round(free.vcpus)} free, ${demand.vcpus} asked`,
    remedy: 'delete microVMs, ask for fewer vCPUs or add a host',
  },
  {
    name: 'guaranteed',
    concerns: (demand) => demand.class === 'guaranteed',
    passes: ({ freeGuaranteed: free }, { demand }) => free.vcpus >= demand.vcpus && free.memoryMiB >= demand.memoryMiB,
    detail: ({ freeGuaranteed: free }) => `${round(free.vcpus)} vCPUs, ${round(free.memoryMiB)} MiB left`,
    remedy: 'ask for the class bestEffort, or raise what the host class may guarantee',
  },
  {
    name: 'guard',
    passes: ({ shutTo }, { demand }) => !shutTo.includes(demand.class),
    detail: ({ shutTo }, { demand }) =>
      shutTo.includes(demand.class) ? `lets no ${demand.class} microVMs in now` : 'open',
    remedy: 'its density report says which guard it is; it opens by itself when the pressure is over',
  },
  {
    name: 'notExcluded',
    concerns: ({ excluded }) => excluded.length > 0,
    passes: ({ hostId }, { demand }) => !demand.excluded.includes(hostId),
    detail: ({ hostId }, { demand }) => (demand.excluded.includes(hostId) ? 'excluded' : 'not excluded'),
  },
  {
    name: 'report',
    passes: ({ reportedAt }, { at }) => reportedAt !== null && at - reportedAt <= REPORT_MAX_AGE_MS,
    detail: ({ reportedAt }, { at }) =>
      reportedAt === null ? 'no report yet' : `${Math.round(at - reportedAt)} ms old, at most ${REPORT_MAX_AGE_MS}`,
    remedy: 'the log of its agent says why it does not report',
  },
  {
    name: 'kvm',
    lasting: true,
    passes: ({ kvm }) => kvm,
    detail: ({ kvm }) => (kvm ? 'available' : 'no usable /dev/kvm'),
    remedy: 'volley doctor says there what its KVM lacks',
  },
  {
    name: 'image',
    lasting: true,
    passes: ({ images, linux }, { demand }) =>
      demand.builtinImage === null ? linux : images.includes(demand.builtinImage),
    detail: ({ images, linux }, { demand }) =>
      demand.builtinImage === null
        ? linux
          ? 'boots Linux images'
          : 'does not boot Linux images'
        : `offers ${images.join(', ') || 'none'}`,
    remedy: 'stock Linux images need a host with hardware KVM, or volley up --emulated',
  },
  {
    name: 'template',
    lasting: true,
    concerns: ({ template }) => template !== undefined,
    passes: ({ hostId }, { demand: { template } }) =>
      template === undefined || template.hosts.includes(hostId) || template.fetchBytes !== undefined,
    detail: ({ hostId }, { demand: { template } }) => {
      const { id, hosts, fetchBytes } = template!;
      if (hosts.includes(hostId)) return 'holds its template';
      if (fetchBytes !== undefined) return `fetches its template, ${Math.ceil(fetchBytes / MIB)} MiB`;
      return `does not hold template ${id}, which the object store does not have`;
    },
    remedy: 'volley template inspect says where it is, and why it is not in the object store',
  },
  {
    name: 'platform',
    lasting: true,
    concerns: ({ template }) => template?.platform !== undefined,
    passes: ({ snapshots }, { demand: { template } }) =>
      template?.platform === undefined || platformDifference(template.platform, snapshots) === undefined,
    detail: ({ snapshots }, { demand: { template } }) => {
      const difference = platformDifference(template!.platform!, snapshots);
      return difference === undefined ? 'as its template needs it' : `template ${template!.id}: ${difference}`;
    },
    remedy: 'make the template anew on such a host, or add hosts like the one it was made on',
  },
  {
    name: 'network',
    lasting: true,
    concerns: ({ network }) => network,
    passes: ({ network }) => network,
    detail: ({ network }) => (network ? 'available' : 'not available'),
    remedy: 'volley hosts --json says what its network lacks',
  },
  {
    name: 'size',
    lasting: true,
    passes: ({ capacity }, { demand }) => capacity.vcpus >= demand.vcpus && capacity.memoryMiB >= demand.memoryMiB,
    detail: ({ capacity }) => `at most ${round(capacity.vcpus)} vCPUs and ${round(capacity.memoryMiB)} MiB in all`,
    remedy: 'ask for less or add a larger host',
  },
  {
    name: 'hostLabels',
    lasting: true,
    concerns: ({ hostLabels }) => Object.keys(hostLabels).length > 0,
    passes: ({ labels }, { demand }) => {
      for (const key in demand.hostLabels) if (labels[key] !== demand.hostLabels[key]) return false;
      return true;
    },
    detail: ({ labels }, { demand }) =>
      Object.keys(demand.hostLabels)
        .map((key) => (labels[key] === undefined ? `no ${key}` : `${key}=${labels[key]}`))
        .join(', '),
    remedy: 'give hosts the labels (VOLLEY_LABELS) or ask for others',
  },
  {
    // Says no more: a tenant does not learn whom it is kept apart from.
    name: 'coresidency',
    passes: ({ occupants }, { demand }) => occupants.accepts(demand),
    detail: ({ occupants }, { demand }) => (occupants.accepts(demand) ? 'may be shared' : 'may not be shared'),
    remedy: 'tenants that may not share a host need more hosts',
  },
  {
    name: 'affinity',
    concerns: ({ affinity }) => affinity.length > 0,
    passes: ({ groups }, { table, demand }) =>
      demand.affinity.every((group) => groups.has(group) || !isAnywhere(table, group)),
    detail: ({ groups }, { demand }) => counts(groups, demand.affinity),
  },
  {
    name: 'antiAffinity',
    concerns: ({ antiAffinity }) => antiAffinity.length > 0,
    passes: ({ groups }, { demand }) => !demand.antiAffinity.some((group) => groups.has(group)),
    detail: ({ groups }, { demand }) => counts(groups, demand.antiAffinity),
    remedy: 'add a host, or keep fewer of them apart',
  },
];

/** Those that can refuse a host this demand. */
export function filtersFor(demand: Demand): readonly Filter[] {
  return FILTERS.filter(({ concerns }) => concerns === undefined || concerns(demand));
}

export function passesAll(host: HostRow, occasion: Occasion, filters = filtersFor(occasion.demand)): boolean {
  for (let i = 0; i < filters.length; i++) if (!filters[i]!.passes(host, occasion)) return false;
  return true;
}

function isAnywhere({ rows }: HostTable, group: string): boolean {
  return rows.some(({ groups }) => groups.has(group));
}

/** Of a group's name the reader needs the label; the tenant is the receipt's. */
function counts(groups: ReadonlyMap<string, number>, asked: readonly string[]): string {
  return asked.map((group) => `${groups.get(group) ?? 0} with ${group.slice(group.indexOf(' ') + 1)}`).join(', ');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
