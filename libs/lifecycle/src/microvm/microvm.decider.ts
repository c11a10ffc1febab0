import { stopTimeoutMs, type Cause, type MicrovmEvent, type MicrovmRecord, type MicrovmStateName } from '#protocol';
import { EventRefusedError } from '../support/errors';
import type { Advance } from '../support/life';
import { applyMicrovmEvents, microvmContext, microvmState, type MicrovmLife } from './microvm.fold';
import type { MicrovmEffect } from './microvm.effects';
import { MICROVM_MACHINE_VERSION, oldestReader } from './microvm.versions';

/** What an operator may ask of an existing microVM. */
export type MicrovmCommand =
  | { type: 'pause' }
  /** A suspended one asks for its place anew. */
  | { type: 'resume'; requestedAt: number }
  | { type: 'suspend' }
  | { type: 'snapshot'; templateId: string; afterwards: 'resume' | 'end' }
  /** Without a time-out: as its spec says. */
  | { type: 'stop'; timeoutMs?: number | undefined }
  | { type: 'start'; requestedAt: number; woken?: string | undefined }
  | { type: 'kill' }
  | { type: 'delete' }
  | { type: 'protect'; enabled: boolean };

export type Decision =
  /** Append `record`; once it is durable, do `effects`. */
  | { kind: 'record'; record: MicrovmRecord; advance: Advance<MicrovmEffect> }
  /** Nothing changes, but these effects are due (reviews). */
  | { kind: 'effects'; effects: MicrovmEffect[] }
  /** It is so already, or on its way. */
  | { kind: 'nothing' }
  /** The state does not accept it; or, with a `reason`, something else stands against it. */
  | { kind: 'refused'; state: MicrovmStateName; reason?: string };

/** States in which a command has nothing to do, so that repeating it is no error. */
const ALREADY: Record<MicrovmCommand['type'], readonly MicrovmStateName[]> = {
  pause: ['pausing', 'paused'],
  resume: ['resuming', 'running', 'restoring'],
  suspend: ['suspending', 'suspended'],
  snapshot: [],
  stop: ['stopping', 'stopped'],
  start: ['requested', 'placing', 'starting', 'running', 'moving', 'restoring'],
  kill: ['stopped'],
  delete: ['deleting', 'deleted'],
  protect: [],
};

const EVENT_OF: {
  [T in MicrovmCommand['type']]: (command: Extract<MicrovmCommand, { type: T }>, life: MicrovmLife) => MicrovmEvent;
} = {
  pause: () => ({ type: 'pauseRequested' }),
  resume: ({ requestedAt }, life) => restoration(life, requestedAt) ?? { type: 'resumeRequested' },
  suspend: () => ({ type: 'suspendRequested' }),
  snapshot: ({ templateId, afterwards }) => ({ type: 'snapshotRequested', templateId, afterwards }),
  stop: ({ timeoutMs }, life) => ({
    type: 'stopRequested',
    timeoutMs: timeoutMs ?? stopTimeoutMs(microvmContext(life).spec),
  }),
  start: ({ requestedAt, woken }, life) =>
    restoration(life, requestedAt, woken) ?? { type: 'startRequested', requestedAt },
  kill: () => ({ type: 'killRequested' }),
  delete: () => ({ type: 'deleteRequested' }),
  protect: ({ enabled }) => ({ type: 'protectionSet', enabled }),
};

/** What lets a suspended one go on: the next incarnation, on the host that has its memory. */
function restoration(life: MicrovmLife, requestedAt: number, reason?: string): MicrovmEvent | undefined {
  const { hostId, epoch } = microvmContext(life);
  if (microvmState(life) !== 'suspended' || hostId === null) return undefined;
  const why = reason === undefined ? {} : { reason };
  return { type: 'restoreRequested', hostId, epoch: epoch + 1, requestedAt, ...why };
}

const UPGRADING =
  'a controller of an older version still takes part, which could not read it; finish the upgrade first';
const PROTECTED = 'it is protected from deletion; lift the protection first (volley protect ID off)';

/** Who decides when: everything about a record that is not its events. */
export interface Occasion {
  microvmId: string;
  commandId: string;
  cause: Cause;
  at: number;
  /** Version of the machine to accept by: the oldest among the controllers. Default: this one's. */
  machine?: number | undefined;
}

/** Decides an operator's command. */
export function decideCommand(life: MicrovmLife, command: MicrovmCommand, occasion: Occasion): Decision {
  const state = microvmState(life);
  const isProtected = microvmContext(life).protected ?? false;
  if (ALREADY[command.type].includes(state)) return { kind: 'nothing' };
  if (command.type === 'protect' && command.enabled === isProtected) return { kind: 'nothing' };
  if (command.type === 'delete' && isProtected) return { kind: 'refused', state, reason: PROTECTED };
  const toEvent = EVENT_OF[command.type] as (command: MicrovmCommand, life: MicrovmLife) => MicrovmEvent;
  return decideEvents(life, [toEvent(command, life)], occasion);
}

/** Decides events: a birth, a reply of the placement, a fact of a host, a timer. All of them or none. */
export function decideEvents(life: MicrovmLife | null, events: MicrovmEvent[], occasion: Occasion): Decision {
  const { machine = MICROVM_MACHINE_VERSION } = occasion;
  const state = life ? microvmState(life) : 'deleted';
  if (oldestReader(events) > machine) return { kind: 'refused', state, reason: UPGRADING };
  let advance: Advance<MicrovmEffect>;
  try {
    advance = applyMicrovmEvents(life, events, occasion.at, machine);
  } catch (error) {
    if (error instanceof EventRefusedError) return { kind: 'refused', state };
    throw error;
  }
  if (!advance.changed) {
    return advance.effects.length > 0 ? { kind: 'effects', effects: advance.effects } : { kind: 'nothing' };
  }
  const record: MicrovmRecord = {
    ...occasion,
    machine,
    from: life ? state : null,
    to: microvmState(advance.life),
    events,
  };
  return { kind: 'record', record, advance };
}
