import {
  classOf,
  parseTemplateReference,
  type Microvm,
  type MicrovmEvent,
  type MicrovmRecord,
  type MicrovmStateName,
} from '#protocol';
import { EventRefusedError, IllegalHistoryError } from '../support/errors';
import { advance, beginLife, nameLife, type Advance, type Life, type NamedLife } from '../support/life';
import { compactedLife, endsCompacted } from './microvm.compacted';
import type { MicrovmContext } from './microvm.context';
import type { MicrovmEffect } from './microvm.effects';
import { microvmMachine } from './microvm.machine';
import { MICROVM_MACHINE_VERSION } from './microvm.versions';

/** The folded history of one microVM. */
export type MicrovmLife = NamedLife<MicrovmEffect>;

export const microvmState = (life: Life<MicrovmEffect>): MicrovmStateName => life.state as MicrovmStateName;
export const microvmContext = (life: Life<MicrovmEffect>): MicrovmContext => life.context as MicrovmContext;

/** Applies the events of one record, accepted or proposed by a version of the machine, to a life (null: not born yet). Throws {@link EventRefusedError}. */
export function applyMicrovmEvents(
  life: MicrovmLife | null,
  events: readonly MicrovmEvent[],
  at: number,
  machine = MICROVM_MACHINE_VERSION,
): Advance<MicrovmEffect> {
  if (life) return advance(microvmMachine, life, events, { at, machine });
  const [birth, ...rest] = events;
  if (birth?.type !== 'requested') throw new EventRefusedError(birth?.type ?? 'nothing', 'nothing');
  const born = beginLife<MicrovmEffect>(microvmMachine, { ...birth, at }, at);
  const grown = advance<MicrovmEffect>(microvmMachine, born.life, rest, { at, machine });
  return { life: grown.life, effects: [...born.effects, ...grown.effects], changed: true };
}

/** Folds one stored record. Throws {@link IllegalHistoryError} when the machine would not have accepted it. */
export function foldMicrovmRecord(life: MicrovmLife | null, record: MicrovmRecord, sequence: number): MicrovmLife {
  const from = life ? microvmState(life) : null;
  if (record.from !== from) {
    if (endsCompacted(record, from)) return nameLife(compactedLife(record), record.microvmId, sequence);
    throw new IllegalHistoryError(`${record.microvmId} #${sequence}: recorded in ${record.from}, folded ${from}`);
  }
  let next;
  try {
    next = applyMicrovmEvents(life, record.events, record.at, record.machine).life;
  } catch (error) {
    if (error instanceof EventRefusedError) {
      throw new IllegalHistoryError(`${record.microvmId} #${sequence}: ${error.message}`);
    }
    throw error;
  }
  const to = microvmState(next);
  if (to !== record.to) {
    throw new IllegalHistoryError(`${record.microvmId} #${sequence}: recorded as ${record.to}, folds to ${to}`);
  }
  return nameLife(next, record.microvmId, sequence);
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** What readers see of a life. */
export function viewMicrovm(life: MicrovmLife): Microvm {
  const context = microvmContext(life);
  const { spec } = context;
  return {
    id: life.id,
    name: spec.name ?? null,
    image: spec.image,
    ...(spec.template === undefined ? {} : { template: parseTemplateReference(spec.template).template }),
    tenant: spec.tenant,
    class: classOf(spec),
    state: microvmState(life),
    reason: context.reason,
    hostId: context.hostId,
    epoch: context.epoch,
    pid: context.pid,
    network: context.network,
    ...(context.exit ? { exit: context.exit } : {}),
    tuned: [...context.tuned],
    timings: context.timings,
    vcpus: spec.vcpus,
    memoryMiB: spec.memoryMiB,
    cmdline: spec.cmdline,
    labels: spec.labels,
    restartPolicy: spec.restartPolicy,
    onHostLoss: spec.onHostLoss,
    ttlSeconds: spec.ttlSeconds ?? null,
    deleteProtection: context.protected ?? false,
    ...(spec.maxRestarts === undefined ? {} : { maxRestarts: spec.maxRestarts }),
    ...(spec.stopTimeoutSeconds === undefined ? {} : { stopTimeoutSeconds: spec.stopTimeoutSeconds }),
    ...(spec.idleStop ? { idleStop: spec.idleStop } : {}),
    ...(spec.schedule ? { schedule: spec.schedule } : {}),
    restarts: context.restarts,
    createdAt: iso(life.createdAt),
    updatedAt: iso(life.updatedAt),
    revision: life.revision,
  };
}
