import type { AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { EventRefusedError } from './errors';
import { begin, stateOf, step, type Step } from './step';

/** A timer of the machine: durable because it is a function of the history that armed it. */
export interface Timer {
  /** Name as in the machine's `delays`, also its name in the history. */
  name: string;
  /** ms since 1970. */
  dueAt: number;
  delayMs: number;
}

/** A machine's life up to now: what folding its history gives. Immutable. */
export interface Life<Effect> {
  readonly snapshot: AnyMachineSnapshot;
  readonly timers: ReadonlyMap<string, Timer>;
  /** Effects of the entry into the current state. While that state waits for somebody, they may have to be done again. */
  readonly outstanding: readonly Effect[];
  readonly createdAt: number;
  readonly updatedAt: number;
  /** When the current state was entered. */
  readonly enteredAt: number;
}

export interface Advance<Effect> {
  life: Life<Effect>;
  /** Everything asked for on the way, in order. */
  effects: Effect[];
  /** False when neither state nor memory changed: nothing worth a record. */
  changed: boolean;
}

interface HistoryEvent {
  type: string;
  timer?: string;
}

/** Starts a life from the machine's input. */
export function beginLife<Effect>(machine: AnyStateMachine, input: unknown, at: number): Advance<Effect> {
  const first = begin<Effect>(machine, input);
  const life: Life<Effect> = {
    snapshot: first.snapshot,
    timers: setTimers(new Map(), first, at),
    outstanding: first.effects,
    createdAt: at,
    updatedAt: at,
    enteredAt: at,
  };
  return { life, effects: first.effects, changed: true };
}

/** Takes events in order. Throws {@link EventRefusedError} at the first that the machine does not accept; nothing of it counts then. */
export function advance<Effect>(
  machine: AnyStateMachine,
  life: Life<Effect>,
  events: readonly HistoryEvent[],
  at: number,
): Advance<Effect> {
  const effects: Effect[] = [];
  let { snapshot, timers, outstanding, enteredAt } = life;
  let changed = false;
  for (const event of events) {
    const machineEvent = toMachineEvent(machine, snapshot, timers, event, at);
    // xstate's own `can` still answers for the machine as a whole when it has ended.
    if (!machineEvent || snapshot.status === 'done' || !snapshot.can(machineEvent)) {
      throw new EventRefusedError(event.type, stateOf(snapshot));
    }
    const taken = step<Effect>(machine, snapshot, machineEvent);
    const entered = taken.armed.length > 0 || taken.snapshot.value !== snapshot.value;
    changed ||= entered || taken.snapshot.context !== snapshot.context;
    effects.push(...taken.effects);
    timers = setTimers(timers, taken, at);
    if (entered) {
      outstanding = taken.effects;
      enteredAt = at;
    }
    snapshot = taken.snapshot;
  }
  if (snapshot.status === 'done') {
    timers = new Map();
    outstanding = [];
  }
  return {
    life: {
      snapshot,
      timers,
      outstanding,
      createdAt: life.createdAt,
      updatedAt: changed ? at : life.updatedAt,
      enteredAt,
    },
    effects,
    changed,
  };
}

/** xstate names the event of a delayed transition `xstate.after.<delay>.<id of the state>`; histories hold the delay's name only. */
function toMachineEvent(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  timers: ReadonlyMap<string, Timer>,
  event: HistoryEvent,
  at: number,
): { type: string; at: number } | undefined {
  if (event.type !== 'deadlinePassed') return { ...event, at };
  if (event.timer === undefined || !timers.has(event.timer)) return undefined;
  const state = stateOf<string>(snapshot);
  const ofState = `xstate.after.${event.timer}.${machine.id}.${state}`;
  const ofRoot = `xstate.after.${event.timer}.${machine.id}`;
  const own = machine.root.states[state]?.after.some((transition) => transition.eventType === ofState);
  return { type: own ? ofState : ofRoot, at };
}

function setTimers<Effect>(
  timers: ReadonlyMap<string, Timer>,
  taken: Step<Effect>,
  at: number,
): ReadonlyMap<string, Timer> {
  if (taken.armed.length === 0 && taken.cancelled.length === 0) return timers;
  const next = new Map(timers);
  for (const event of taken.cancelled) next.delete(nameOf(event));
  for (const { timer, delayMs } of taken.armed) {
    const name = nameOf(timer);
    next.set(name, { name, dueAt: at + delayMs, delayMs });
  }
  return next;
}

function nameOf(timerEvent: string): string {
  return timerEvent.split('.')[2] ?? timerEvent;
}
