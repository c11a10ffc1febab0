import { hostContext, hostState, type HostLife } from '#lifecycle';
import { SHARED, type DensityReport, type PlacementStep } from '#protocol';
import {
  CLASSES,
  debitRow,
  HostTable,
  Occupants,
  stillInFlight,
  type Demand,
  type HostRow,
  type InFlight,
} from '#scheduling';
import { hostStep, loadStep } from '../receipts/placement-steps';

interface Known {
  life: HostLife;
  report: DensityReport | null;
  /** When the report arrived, ms since 1970. */
  reportedAt: number | null;
  /** Placed, and not in a report yet. */
  inFlight: InFlight[];
}

/** States in which a host is not counted among the hosts any more. */
const GONE = ['retired'];

/** What is known of every host: its history, its last report, and what was placed on it since. Keeps the table of hosts. */
export class HostBook {
  readonly table = new HostTable();
  readonly #known = new Map<string, Known>();
  /** Reports of hosts whose history has not arrived yet. */
  readonly #early = new Map<string, { report: DensityReport; at: number }>();
  /** Hosts of which the receipts' log does not know the latest, and whether only the load is new. */
  readonly #changed = new Map<string, 'host' | 'load'>();
  /** Hosts that changed since {@link mark}, placements included. */
  #marked: Set<string> | undefined;
  #membersChanged = false;

  /** `mayTakeMore`: told of a host that has news, after they are in the table. */
  constructor(private readonly mayTakeMore: (hostId: string) => void) {}

  /** True when hosts came or went since the last {@link takeAll}: then the changes alone do not tell the table. */
  get membersChanged(): boolean {
    return this.#membersChanged;
  }

  /** A record of its history was folded. */
  heardOf(life: HostLife): void {
    const known = this.#known.get(life.id);
    if (GONE.includes(hostState(life))) {
      if (known) {
        this.#known.delete(life.id);
        this.table.remove(life.id);
        this.#changed.delete(life.id);
        this.#membersChanged = true;
      }
      return;
    }
    const early = this.#early.get(life.id);
    this.#early.delete(life.id);
    if (known) known.life = life;
    else {
      this.#membersChanged = true;
      this.#known.set(life.id, { life, report: early?.report ?? null, reportedAt: early?.at ?? null, inFlight: [] });
    }
    this.#renew(life.id, 'host');
  }

  /** A report arrived at `at`, ms since 1970. */
  reported(report: DensityReport, at: number): void {
    const known = this.#known.get(report.hostId);
    if (!known) {
      this.#early.set(report.hostId, { report, at });
      return;
    }
    const sameImages = sameItems(known.report?.occupancy?.images, report.occupancy?.images);
    known.report = report;
    known.reportedAt = at;
    known.inFlight = stillInFlight(known.inFlight, report.occupancy?.answered, at);
    this.#renew(report.hostId, sameImages ? 'load' : 'host');
  }

  /** Takes a placement off its host until the host's reports contain it. */
  place(hostId: string, microvmId: string, demand: Demand, at: number, keepMs?: number): void {
    this.table.debit(hostId, demand);
    this.#marked?.add(hostId);
    this.#known.get(hostId)?.inFlight.push({ microvmId, demand, at, keepMs });
  }

  /** Nobody wants a placement any more: unless the host has answered for it, it is as if it had not been made. */
  withdraw(hostId: string, microvmId: string): void {
    const known = this.#known.get(hostId);
    const left = known?.inFlight.filter((placed) => placed.microvmId !== microvmId) ?? [];
    if (!known || left.length === known.inFlight.length) return;
    known.inFlight = left;
    this.#renew(hostId, 'load');
  }

  /** The latest reports of hosts that are there. */
  reports(): DensityReport[] {
    return [...this.#known.values()]
      .flatMap(({ life, report }) => (report && hostState(life) !== 'lost' ? [report] : []))
      .sort((a, b) => (a.hostId < b.hostId ? -1 : 1));
  }

  /** Every host, as steps that make the table anew. */
  takeAll(): PlacementStep[] {
    this.#membersChanged = false;
    this.#changed.clear();
    this.#marked = undefined;
    return this.table.rows.map(hostStep);
  }

  /** What has changed since the last time, as steps. */
  takeChanges(): PlacementStep[] {
    const steps: PlacementStep[] = [];
    for (const [hostId, what] of this.#changed) {
      steps.push(what === 'host' ? hostStep(this.#row(hostId)) : loadStep(this.#row(hostId)));
    }
    this.#changed.clear();
    return steps;
  }

  /** From now on it is noted which hosts change, until {@link takeMarked}. Gives all hosts, in the order of the table. */
  mark(): string[] {
    this.#marked = new Set();
    return this.table.rows.map(({ hostId }) => hostId);
  }

  /** Some hosts as they are now, as steps. All of them must be there still: see {@link membersChanged}. */
  take(hostIds: readonly string[]): PlacementStep[] {
    return hostIds.map((hostId) => hostStep(this.#row(hostId)));
  }

  /** What has changed since {@link mark}, whatever was taken in between, as steps. */
  takeMarked(): PlacementStep[] {
    const steps = this.take([...(this.#marked ?? [])]);
    this.#marked = undefined;
    this.#changed.clear();
    return steps;
  }

  #row(hostId: string): HostRow {
    return this.table.rows[this.table.indexOf(hostId)!]!;
  }

  #renew(hostId: string, what: 'host' | 'load'): void {
    this.table.set(rowOf(this.#known.get(hostId)!));
    if (what === 'host' || !this.#changed.has(hostId)) this.#changed.set(hostId, what);
    this.#marked?.add(hostId);
    this.mayTakeMore(hostId);
  }
}

function rowOf({ life, report, reportedAt, inFlight }: Known): HostRow {
  const { description } = hostContext(life);
  // What its admission applies now; its description says what it began with.
  const { cpuLimit: cpu = 1, memoryLimit: memory = 1 } = report?.overcommit ?? {
    cpuLimit: description?.overcommit.cpu,
    memoryLimit: description?.overcommit.memory,
  };
  const { cpuSome, memorySome, ioSome } = report?.pressure ?? { cpuSome: 0, memorySome: 0, ioSome: 0 };
  const { slots, vcpus, memoryMiB } = report?.headroom ?? { slots: 0, vcpus: 0, memoryMiB: 0 };
  const row: HostRow = {
    hostId: life.id,
    state: hostState(life),
    kvm: description?.kvm.available ?? false,
    linux: description?.linux?.available ?? false,
    network: description?.network?.available ?? false,
    images: description?.images ?? [],
    cachedImages: report?.occupancy?.images ?? [],
    labels: description?.labels ?? {},
    snapshots: description?.snapshots,
    capacity: {
      slots: description?.slots ?? 0,
      vcpus: (description?.cpus ?? 0) * cpu,
      memoryMiB: Math.max(0, (description?.memoryMiB ?? 0) - (description?.reserveMiB ?? 0)) * memory,
    },
    reportedAt,
    free: { slots, vcpus, memoryMiB },
    freeGuaranteed: { ...(report?.guaranteed?.headroom ?? { vcpus, memoryMiB }) },
    shutTo: CLASSES.filter((one) => report?.guards?.gates[one].open === false),
    pressurePercent: Math.max(cpuSome ?? 0, memorySome ?? 0, ioSome ?? 0),
    occupants: new Occupants(
      (report?.occupancy?.tenants ?? []).map(({ tenant, microvms, coresidency = SHARED }) => ({
        ...{ tenant, coresidency, count: microvms },
      })),
    ),
    groups: new Map((report?.occupancy?.groups ?? []).map(({ group, microvms }) => [group, microvms])),
  };
  for (const { demand } of inFlight) debitRow(row, demand);
  return row;
}

function sameItems(a: readonly string[] = [], b: readonly string[] = []): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
