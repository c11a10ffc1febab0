import type { JournalRecord } from './read-journal';

/** What the journal says of one incarnation. */
export interface BookedIncarnation {
  microvmId: string;
  epoch: number;
  ended: boolean;
  vcpus: number;
  memoryMiB: number;
  tenant: string;
  slot: number | undefined;
  pid: number | undefined;
}

/** A host's journal, folded record by record, so that a checker can look at every prefix of it. */
export class HostBooks {
  readonly incarnations = new Map<string, BookedIncarnation>();
  /** microVM -> this epoch and lower ones must never start here again. */
  readonly fences = new Map<string, number>();

  apply({ change, snapshot }: JournalRecord): void {
    for (const { microvmId, epoch, phase, spec, slot, identity } of snapshot?.incarnations ?? [])
      this.incarnations.set(microvmId, {
        ...{ microvmId, epoch, ended: phase === 'ended', slot, pid: identity?.pid },
        ...{ vcpus: spec.vcpus, memoryMiB: spec.memoryMiB, tenant: spec.tenant },
      });
    for (const [microvmId, epoch] of snapshot?.fences ?? []) this.#fence(microvmId, epoch);
    if (!change) return;
    const { type, microvmId, epoch } = change;
    const held = this.incarnations.get(microvmId);
    const here = held?.epoch === epoch ? held : undefined;
    switch (type) {
      case 'admitted': {
        const { vcpus, memoryMiB, tenant } = change.spec!;
        const booked = { vcpus, memoryMiB, tenant, slot: change.slot, pid: undefined };
        this.incarnations.set(microvmId, { microvmId, epoch, ended: false, ...booked });
        return;
      }
      case 'launched':
        if (here) here.pid = change.identity?.pid;
        return;
      case 'ended':
        if (here) here.ended = true;
        return;
      case 'gone':
        if (held && held.epoch <= epoch) this.incarnations.delete(microvmId);
        this.#fence(microvmId, epoch);
        return;
      case 'fenced':
        this.#fence(microvmId, epoch);
        return;
      case 'erasing':
        this.#fence(microvmId, change.upTo ?? epoch);
    }
  }

  /** Those that hold a place: granted, whether or not a process exists yet, and not ended. */
  alive(): BookedIncarnation[] {
    return [...this.incarnations.values()].filter(({ ended }) => !ended);
  }

  #fence(microvmId: string, epoch: number): void {
    this.fences.set(microvmId, Math.max(epoch, this.fences.get(microvmId) ?? 0));
  }
}
