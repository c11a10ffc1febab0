import type { Logger } from 'pino';
import type { Cgroups } from '../cgroups/cgroups';
import type { Disks } from '../disks/disks';
import { holdsPlace } from '../journal/host-record';
import type { HostState } from '../journal/host-state';
import type { Fabric } from '../network/fabric';
import type { SlotKeeper } from '../slots/slot-keeper';
import type { SnapshotFolders } from '../snapshots/snapshot-folders';

/** Something of the host that is not as the journal says. */
export interface Leak {
  kind: 'slot' | 'process' | 'cgroup' | 'tap' | 'packetFilter' | 'disk' | 'memory';
  name: string;
  /** What was found, for people. */
  found: string;
  /** Whether it was put right. */
  reclaimed: boolean;
}

export interface LedgerParts {
  state: HostState;
  /** How many slots there are. */
  size: number;
  slots: Pick<SlotKeeper, 'held' | 'isIdle' | 'giveBack' | 'slot'>;
  cgroups: Pick<Cgroups, 'list' | 'processesOf' | 'remove'>;
  fabric: Pick<Fabric, 'scan' | 'repair' | 'relay'> | undefined;
  disks: Pick<Disks, 'list' | 'remove'>;
  /** The memory of suspended microVMs. */
  suspensions: Pick<SnapshotFolders, 'list'>;
  log: Logger;
  kill?: (pid: number) => void;
}

/** Compares what the host holds with what the journal says, and puts right what nobody can miss. */
export class Ledger {
  /** Leaks found since the agent began. */
  found = 0;
  readonly #told = new Set<string>();

  constructor(private readonly parts: LedgerParts) {}

  async audit(): Promise<Leak[]> {
    const leaks = [
      ...this.#slots(),
      ...this.#cgroups(),
      ...(await this.#network()),
      ...(await this.#disks()),
      ...this.#memory(),
    ];
    for (const leak of leaks) {
      const { kind, name } = leak;
      // What cannot be put right is told once.
      if (this.#told.has(`${kind} ${name}`) && !leak.reclaimed) continue;
      this.#told.add(`${kind} ${name}`);
      this.found++;
      this.parts.log.error(leak, 'the host holds what no record of the journal owns, or lacks what one does');
    }
    return leaks;
  }

  #slots(): Leak[] {
    const { state, slots } = this.parts;
    const owned = new Set<number>();
    for (const record of state.incarnations.values())
      if (holdsPlace(record) && record.slot !== undefined) owned.add(record.slot);
    return slots.held().flatMap((number) => {
      if (owned.has(number)) return [];
      slots.giveBack(slots.slot(number));
      return [{ kind: 'slot' as const, name: String(number), found: 'it was held for nobody', reclaimed: true }];
    });
  }

  #cgroups(): Leak[] {
    const { slots, cgroups, size } = this.parts;
    const { kill = (pid: number) => void process.kill(pid, 'SIGKILL') } = this.parts;
    const leaks: Leak[] = [];
    for (const name of cgroups.list()) {
      const number = Number(/^s(\d+)$/.exec(name)?.[1] ?? Number.NaN);
      if (Number.isNaN(number) || !slots.isIdle(number)) continue;
      const processes = cgroups.processesOf({ cgroup: name });
      for (const pid of processes) {
        kill(pid);
        leaks.push({
          kind: 'process',
          name: String(pid),
          found: `it ran in slot ${number}, which is free`,
          reclaimed: true,
        });
      }
      // Those of slots that are offered are kept for the next tenant.
      if (processes.length > 0 || number < size) continue;
      cgroups.remove({ cgroup: name, number });
      leaks.push({ kind: 'cgroup', name, found: 'this host no longer offers its slot', reclaimed: true });
    }
    return leaks;
  }

  async #network(): Promise<Leak[]> {
    const { fabric } = this.parts;
    if (!fabric) return [];
    const { strayTaps, missingTaps, strayPolicies, missingPolicies } = await fabric.scan();
    const taps = [...strayTaps, ...missingTaps];
    const policies = [...strayPolicies, ...missingPolicies];
    if (taps.length > 0) await fabric.repair(strayTaps, missingTaps);
    if (policies.length > 0 || missingTaps.length > 0) await fabric.relay();
    return [
      ...strayTaps.map((name): Leak => ({ kind: 'tap', name, found: 'no slot knows it', reclaimed: true })),
      ...missingTaps.map((name): Leak => ({ kind: 'tap', name, found: 'it has vanished', reclaimed: true })),
      ...policies.map((name): Leak => ({ kind: 'packetFilter', name, found: 'not as it should be', reclaimed: true })),
    ];
  }

  /** Memory is somebody's data too, and this host knows of all that it should have. */
  #memory(): Leak[] {
    const { state, suspensions } = this.parts;
    return suspensions.list().flatMap((name): Leak[] => {
      const found = 'no record knows the suspended microVM that this was; remove it by hand if nobody needs it';
      return state.incarnations.has(name) ? [] : [{ kind: 'memory', name, found, reclaimed: false }];
    });
  }

  /** Disks are somebody's data: they go only where this host knows that their microVM was erased. */
  async #disks(): Promise<Leak[]> {
    const { state, disks } = this.parts;
    const leaks: Leak[] = [];
    for (const microvmId of disks.list()) {
      if (state.incarnations.has(microvmId)) continue;
      const reclaimed = state.fences.has(microvmId);
      if (reclaimed) await disks.remove(microvmId);
      const found = reclaimed
        ? 'its microVM was erased'
        : 'no record knows its microVM; remove it by hand if nobody needs it';
      leaks.push({ kind: 'disk', name: microvmId, found, reclaimed });
    }
    return leaks;
  }
}
