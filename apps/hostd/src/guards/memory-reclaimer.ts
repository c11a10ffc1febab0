import { classOf, wantedDevices } from '#protocol';
import type { Cgroups } from '../cgroups/cgroups';
import type { AgentContext } from '../microvms/agent-context';
import type { LiveIncarnation } from '../microvms/live-incarnation';
import type { MicrovmManager } from '../microvms/microvm-manager';
import type { Reclaimer } from './guard-keeper';

const MIB = 1024 * 1024;

/** Takes memory back from microVMs of the class `bestEffort`, and has their histories say why. No other is ever touched. */
export class MemoryReclaimer implements Reclaimer {
  /** Incarnations that were told to suspend: one that did not is not told again. */
  readonly #suspended = new Set<string>();

  constructor(
    private readonly manager: Pick<MicrovmManager, 'living' | 'liveOf' | 'suspendFor'>,
    private readonly cgroups: Pick<Cgroups, 'heldBytes'>,
    private readonly context: Pick<AgentContext, 'slots' | 'chronicle' | 'facts' | 'limits' | 'platform' | 'log'>,
  ) {}

  candidates(): ReturnType<Reclaimer['candidates']> {
    const found: ReturnType<Reclaimer['candidates']> = [];
    for (const live of this.manager.living()) {
      const { microvmId, spec, slot, pending } = live.record;
      if (classOf(spec) !== 'bestEffort' || slot === undefined) continue;
      found.push({
        ...{ microvmId, class: 'bestEffort', memoryMiB: spec.memoryMiB },
        canSuspend:
          this.context.platform !== undefined && live.doing === 'running' && !this.#suspended.has(incarnationOf(live)),
        residentMiB: (this.cgroups.heldBytes(this.context.slots.slot(slot)) ?? 0) / MIB,
        balloonMiB: balloonOf(live),
        isLeaving: live.isEnding || pending.some(({ type }) => type === 'suspend'),
      });
    }
    return found;
  }

  balloon(microvmId: string, mib: number, reason: string): void {
    const live = this.#bestEffort(microvmId);
    const process = live?.process;
    if (!live || !process) return;
    const { chronicle, facts, limits, log } = this.context;
    process
      .setBalloon(mib * MIB, limits.controlMs)
      .then(() => chronicle.record({ facts: [facts.tuned(live.record, { kind: 'balloon', mib }, reason)] }))
      .catch((error: unknown) => log.warn({ err: error as Error, microvmId }, 'a balloon did not take its target'));
  }

  suspend(microvmId: string, reason: string): void {
    const live = this.#bestEffort(microvmId);
    if (!live) return;
    this.#suspended.add(incarnationOf(live));
    void live.ended.then(() => this.#suspended.delete(incarnationOf(live)));
    this.manager.suspendFor(microvmId, reason);
  }

  evict(microvmId: string, reason: string): void {
    this.#bestEffort(microvmId)?.end({ reason: 'evicted', message: `evicted by its host: ${reason}` });
  }

  #bestEffort(microvmId: string): LiveIncarnation | undefined {
    const live = this.manager.liveOf(microvmId);
    return live && classOf(live.record.spec) === 'bestEffort' ? live : undefined;
  }
}

const incarnationOf = ({ record }: LiveIncarnation): string => `${record.microvmId}.${record.epoch}`;

/** What its balloon was told to take, MiB; undefined: it has none, or none that could be asked now. */
function balloonOf({ record, process, doing }: LiveIncarnation): number | undefined {
  if (!wantedDevices(record.spec).balloon || doing !== 'running') return undefined;
  try {
    const target = process?.stats().balloon?.targetBytes;
    return target === undefined ? undefined : target / MIB;
  } catch {
    return undefined;
  }
}
