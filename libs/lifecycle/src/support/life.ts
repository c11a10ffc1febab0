import type { AnyStateMachine } from 'xstate';
import { EventRefusedError } from './errors';
import { begin, step, type Moment, type Step } from './step';
import { Timers, type Timer } from './timers';

/** A machine's life up to now: what folding its history gives. Immutable. */
export interface Life<Effect> extends Moment {
  readonly timers: Timers;
  /** Effects of the entry into the current state. While that state waits for somebody, they may have to be done again. */
  readonly outstanding: readonly Effect[];
  readonly createdAt: number;
  readonly updatedAt: number;
  /** When the current state was entered. */
  readonly enteredAt: number;
}

/** A life under its name, as of one record of its history. */
export interface NamedLife<Effect> extends Life<Effect> {
  readonly id: string;
  /** Stream sequence of its last record: what the next append must expect. */
  readonly revision: number;
}

/**
 * Names a life. Written out on purpose: an object that is spread and then added to gets a hidden class of its own in V8, which is 600
 * bytes for each of thousands.
 */
export function nameLife<Effect>(life: Life<Effect>, id: string, revision: number): NamedLife<Effect> {
  const { state, context, isOver, timers, outstanding, createdAt, updatedAt, enteredAt } = life;
  return { state, context, isOver, timers, outstanding, createdAt, updatedAt, enteredAt, id, revision };
}

export interface Advance<Effect> {
  life: Life<Effect>;
  /** Everything asked for on the way, in order. */
  effects: Effect[];
  /** False when neither state nor memory changed: nothing worth a record. */
  changed: boolean;
}

/** When an event happened, and the version of the machine that accepted it. */
export interface Acceptance {
  at: number;
  machine: number;
}

interface HistoryEvent {
  type: string;
  timer?: string;
}

/** Most lives wait for nobody most of the time; they share this. */
const NOTHING: readonly never[] = [];

/** Starts a life from the machine's input. */
export function beginLife<Effect>(machine: AnyStateMachine, input: unknown, at: number): Advance<Effect> {
  const { moment, ...first } = begin<Effect>(machine, input);
  const life: Life<Effect> = {
    ...moment,
    timers: setTimers(Timers.NONE, first, at),
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
  acceptance: Acceptance,
): Advance<Effect> {
  const { at } = acceptance;
  const effects: Effect[] = [];
  let moment: Moment = life;
  let { timers, outstanding, enteredAt } = life;
  let changed = false;
  for (const event of events) {
    const machineEvent = toMachineEvent(machine, moment, timers, event, acceptance);
    const taken = machineEvent && step<Effect>(machine, moment, machineEvent);
    if (!taken) throw new EventRefusedError(event.type, moment.state);
    const entered = taken.armed.length > 0 || taken.moment.state !== moment.state;
    changed ||= entered || taken.moment.context !== moment.context;
    effects.push(...taken.effects);
    timers = setTimers(timers, taken, at);
    if (entered) {
      outstanding = taken.effects.length === 0 ? NOTHING : taken.effects;
      enteredAt = at;
    }
    moment = taken.moment;
  }
  const { state, context, isOver } = moment;
  return {
    life: {
      state,
      context,
      isOver,
      timers: isOver ? Timers.NONE : timers,
      outstanding: isOver ? NOTHING : outstanding,
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
  { state }: Moment,
  timers: Timers,
  event: HistoryEvent,
  acceptance: Acceptance,
): { type: string } | undefined {
  const accepted = { at: acceptance.at, machine: acceptance.machine };
  if (event.type !== 'deadlinePassed') return { ...event, ...accepted };
  if (event.timer === undefined || !timers.has(event.timer)) return undefined;
  const ofState = `xstate.after.${event.timer}.${machine.id}.${state}`;
  const ofRoot = `xstate.after.${event.timer}.${machine.id}`;
  const own = machine.root.states[state]?.after.some((transition) => transition.eventType === ofState);
  return { type: own ? ofState : ofRoot, ...accepted };
}

function setTimers<Effect>(timers: Timers, taken: Pick<Step<Effect>, 'armed' | 'cancelled'>, at: number): Timers {
  if (taken.armed.length === 0 && taken.cancelled.length === 0) return timers;
  const armed: Timer[] = taken.armed.map(({ timer, delayMs }) => ({
    name: nameOf(timer),
    dueAt: at + delayMs,
    delayMs,
  }));
  const gone = new Set([...taken.cancelled.map(nameOf), ...armed.map(({ name }) => name)]);
  return Timers.of([...[...timers].filter(({ name }) => !gone.has(name)), ...armed]);
}

function nameOf(timerEvent: string): string {
  return timerEvent.split('.')[2] ?? timerEvent;
}
