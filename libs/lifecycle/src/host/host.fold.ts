import {
  DEFAULT_HOST_CLASS,
  type Cause,
  type Host,
  type HostEvent,
  type HostRecord,
  type HostStateName,
} from '#protocol';
import { EventRefusedError, IllegalHistoryError } from '../support/errors';
import { advance, beginLife, nameLife, type Advance, type Life, type NamedLife } from '../support/life';
import { HOST_MACHINE_VERSION, hostMachine, type HostContext, type HostEffect } from './host.machine';

/** The folded history of one host. */
export type HostLife = NamedLife<HostEffect>;

export const hostState = (life: Life<HostEffect>): HostStateName => life.state as HostStateName;
export const hostContext = (life: Life<HostEffect>): HostContext => life.context as HostContext;

function applyHostEvents(
  life: HostLife | null,
  events: readonly HostEvent[],
  at: number,
  machine = HOST_MACHINE_VERSION,
): Advance<HostEffect> {
  if (life) return advance(hostMachine, life, events, { at, machine });
  const [birth, ...rest] = events;
  if (birth?.type !== 'registered') throw new EventRefusedError(birth?.type ?? 'nothing', 'nothing');
  const born = beginLife<HostEffect>(hostMachine, birth, at);
  return { ...advance(hostMachine, born.life, rest, { at, machine }), changed: true };
}

export type HostDecision =
  | { kind: 'record'; record: HostRecord; advance: Advance<HostEffect> }
  | { kind: 'nothing' }
  | { kind: 'refused'; state: HostStateName | null };

export interface HostOccasion {
  hostId: string;
  commandId: string;
  cause: Cause;
  at: number;
  /** What all controllers know: the version of the microVM's machine, which may be ahead of the host's. Default: this one's. */
  machine?: number | undefined;
}

/** Added after version 1. */
const EVENTS: Partial<Record<HostEvent['type'], number>> = {
  drainRequested: 2,
  drainCancelled: 2,
  drainProgressed: 2,
  drainCompleted: 2,
  drainReopened: 2,
  classAssigned: 3,
  policyApplied: 3,
  guardsActed: 3,
};

/** Decides events of a host, all or none. Refused: also what a controller of an older version could not read. */
export function decideHostEvents(
  life: HostLife | null,
  events: HostEvent[],
  { machine: known = HOST_MACHINE_VERSION, ...occasion }: HostOccasion,
): HostDecision {
  const machine = Math.min(known, HOST_MACHINE_VERSION);
  const added = events.some(({ type }) => (EVENTS[type] ?? 1) > machine);
  if (added) return { kind: 'refused', state: life ? hostState(life) : null };
  let next: Advance<HostEffect>;
  try {
    next = applyHostEvents(life, events, occasion.at, machine);
  } catch (error) {
    if (error instanceof EventRefusedError) return { kind: 'refused', state: life ? hostState(life) : null };
    throw error;
  }
  if (!next.changed) return { kind: 'nothing' };
  const record: HostRecord = {
    machine,
    ...occasion,
    from: life ? hostState(life) : null,
    to: hostState(next.life),
    events,
  };
  return { kind: 'record', record, advance: next };
}

/** Folds one stored record. Throws {@link IllegalHistoryError} when the machine would not have accepted it. */
export function foldHostRecord(life: HostLife | null, record: HostRecord, sequence: number): HostLife {
  try {
    const { life: next } = applyHostEvents(life, record.events, record.at, record.machine);
    if (hostState(next) !== record.to) throw new EventRefusedError(`a record to ${record.to}`, hostState(next));
    return nameLife(next, record.hostId, sequence);
  } catch (error) {
    if (error instanceof EventRefusedError) {
      throw new IllegalHistoryError(`host ${record.hostId} #${sequence}: ${error.message}`);
    }
    throw error;
  }
}

/** The class that a host belongs to: as an operator says, or else its agent. */
export function hostClassOf(life: HostLife): Host['hostClass'] {
  const { assignedClass, description } = hostContext(life);
  if (assignedClass !== null) return { name: assignedClass, by: 'operator' };
  return { name: description?.hostClass ?? DEFAULT_HOST_CLASS, by: 'agent' };
}

/** What readers see of a host. */
export function viewHost(life: HostLife): Host {
  const { description, drain, policy } = hostContext(life);
  if (!description) throw new IllegalHistoryError(`host ${life.id} has no description`);
  return {
    id: life.id,
    state: hostState(life),
    description,
    ...(drain ? { drain } : {}),
    hostClass: hostClassOf(life),
    ...(policy ? { policy } : {}),
    createdAt: new Date(life.createdAt).toISOString(),
    updatedAt: new Date(life.updatedAt).toISOString(),
    revision: life.revision,
  };
}
