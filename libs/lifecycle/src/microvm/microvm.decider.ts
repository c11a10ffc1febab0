import type { Cause, MicrovmEvent, MicrovmRecord, MicrovmStateName } from '#protocol';
import { EventRefusedError } from '../support/errors';
import type { Advance } from '../support/life';
import { applyMicrovmEvents, microvmState, type MicrovmLife } from './microvm.fold';
import type { MicrovmEffect } from './microvm.effects';
import { MICROVM_MACHINE_VERSION } from './microvm.machine';

/** What an operator may ask of an existing microVM. */
export type MicrovmCommand =
  | { type: 'pause' }
  | { type: 'resume' }
  | { type: 'stop'; timeoutMs: number }
  | { type: 'start'; requestedAt: number }
  | { type: 'kill' }
  | { type: 'delete' };

export type Decision =
  /** Append `record`; once it is durable, do `effects`. */
  | { kind: 'record'; record: MicrovmRecord; advance: Advance<MicrovmEffect> }
  /** Nothing changes, but these effects are due (reviews). */
  | { kind: 'effects'; effects: MicrovmEffect[] }
  /** It is so already, or on its way. */
  | { kind: 'nothing' }
  /** The state does not accept it. */
  | { kind: 'refused'; state: MicrovmStateName };

/** States in which a command has nothing to do, so that repeating it is no error. */
const ALREADY: Record<MicrovmCommand['type'], readonly MicrovmStateName[]> = {
  pause: ['pausing', 'paused'],
  resume: ['resuming', 'running'],
  stop: ['stopping', 'stopped'],
  start: ['requested', 'placing', 'starting', 'running', 'moving'],
  kill: ['stopped'],
  delete: ['deleting', 'deleted'],
};

const EVENT_OF: { [T in MicrovmCommand['type']]: (command: Extract<MicrovmCommand, { type: T }>) => MicrovmEvent } = {
  pause: () => ({ type: 'pauseRequested' }),
  resume: () => ({ type: 'resumeRequested' }),
  stop: ({ timeoutMs }) => ({ type: 'stopRequested', timeoutMs }),
  start: ({ requestedAt }) => ({ type: 'startRequested', requestedAt }),
  kill: () => ({ type: 'killRequested' }),
  delete: () => ({ type: 'deleteRequested' }),
};

/** Who decides when: everything about a record that is not its events. */
export interface Occasion {
  microvmId: string;
  commandId: string;
  cause: Cause;
  at: number;
}

/** Decides an operator's command. */
export function decideCommand(life: MicrovmLife, command: MicrovmCommand, occasion: Occasion): Decision {
  if (ALREADY[command.type].includes(microvmState(life))) return { kind: 'nothing' };
  const toEvent = EVENT_OF[command.type] as (command: MicrovmCommand) => MicrovmEvent;
  return decideEvents(life, [toEvent(command)], occasion);
}

/** Decides events: a birth, a reply of the placement, a fact of a host, a timer. All of them or none. */
export function decideEvents(life: MicrovmLife | null, events: MicrovmEvent[], occasion: Occasion): Decision {
  let advance: Advance<MicrovmEffect>;
  try {
    advance = applyMicrovmEvents(life, events, occasion.at);
  } catch (error) {
    if (error instanceof EventRefusedError) {
      return { kind: 'refused', state: life ? microvmState(life) : 'deleted' };
    }
    throw error;
  }
  if (!advance.changed) {
    return advance.effects.length > 0 ? { kind: 'effects', effects: advance.effects } : { kind: 'nothing' };
  }
  const record: MicrovmRecord = {
    machine: MICROVM_MACHINE_VERSION,
    ...occasion,
    from: life ? microvmState(life) : null,
    to: microvmState({ ...advance.life }),
    events,
  };
  return { kind: 'record', record, advance };
}
