import type { FleetDensity, Microvm, MicrovmDensity } from '#protocol';
import type { RestClient } from '../rest/rest-client';
import {
  HOST_COLUMNS,
  MICROVM_COLUMNS,
  TENANT_COLUMNS,
  type MicrovmRow,
  type Round,
  type TopColumn,
} from './top-views';

/** microVMs that are measured in a round, at most: their hosts are asked for each. */
const MICROVMS_MOST = 500;

interface Measured {
  microvm: Microvm;
  density: MicrovmDensity | null;
}

export interface Filter {
  host?: string | undefined;
  tenant?: string | undefined;
}

/** One look at the fleet. */
export interface Look {
  atMs: number;
  /** By the name of each thing. */
  items: Map<string, unknown>;
  remark?: string;
}

/** What can be looked at: how it is read, and how it is shown. */
export interface View {
  name: string;
  columns: readonly TopColumn<Round<never>>[];
  /** Sorted by this unless somebody says otherwise. */
  sort: string;
  read: (client: RestClient, filter: Filter) => Promise<Omit<Look, 'atMs'>>;
}

export const VIEWS: readonly View[] = [
  {
    name: 'hosts',
    columns: HOST_COLUMNS as unknown as View['columns'],
    sort: 'host',
    read: async (client, { host }) => {
      const { hosts } = await client.get<FleetDensity>('/v1/density');
      const shown = hosts.filter(({ hostId }) => host === undefined || hostId === host);
      return { items: new Map(shown.map((one) => [one.hostId, one])) };
    },
  },
  {
    name: 'tenants',
    columns: TENANT_COLUMNS as unknown as View['columns'],
    sort: 'promised',
    read: async (client, { tenant }) => {
      const { tenants = [] } = await client.get<FleetDensity>('/v1/density');
      const shown = tenants.filter((one) => tenant === undefined || one.tenant === tenant);
      return { items: new Map(shown.map((one) => [one.tenant, one])) };
    },
  },
  {
    name: 'microvms',
    columns: MICROVM_COLUMNS as unknown as View['columns'],
    sort: 'cpu',
    read: readMicrovms,
  },
];

async function readMicrovms(client: RestClient, { host, tenant }: Filter): Promise<Omit<Look, 'atMs'>> {
  const items = new Map<string, MicrovmRow['now']>();
  let looked = 0;
  let more = false;
  const query = { state: ['running', 'paused'], host, tenant };
  for await (const { microvm, density } of client.pages<Measured>('/v1/density/microvms', query)) {
    if (looked++ === MICROVMS_MOST) {
      more = true;
      break;
    }
    // It has ended meanwhile, or was not measured yet.
    if (density) items.set(microvm.id, { microvm, density });
  }
  const remark = `only the oldest ${MICROVMS_MOST} are measured: choose with --host or --tenant`;
  return { items, ...(more ? { remark } : {}) };
}
