import { initialTransition, transition, type AnyMachineSnapshot, type AnyStateMachine } from 'xstate';

/** What one transition asks for besides the next snapshot. */
export interface Step<Effect> {
  snapshot: AnyMachineSnapshot;
  effects: Effect[];
  /** Timers to set: event type that the machine expects back, and the delay in ms. */
  armed: { timer: string; delayMs: number }[];
  /** Timers to forget. */
  cancelled: string[];
}

interface ExecutableAction {
  type: string;
  params?: unknown;
}

/** First step of a machine's life. */
export function begin<Effect>(machine: AnyStateMachine, input: unknown): Step<Effect> {
  const [snapshot, actions] = initialTransition(machine, input);
  return sort(snapshot, actions as ExecutableAction[]);
}

/** One event through the pure transition function. */
export function step<Effect>(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  event: { type: string },
): Step<Effect> {
  const [next, actions] = transition(machine, snapshot, event);
  return sort(next, actions as ExecutableAction[]);
}

function sort<Effect>(snapshot: AnyMachineSnapshot, actions: ExecutableAction[]): Step<Effect> {
  const effects: Effect[] = [];
  const armed: Step<Effect>['armed'] = [];
  const cancelled: string[] = [];
  for (const action of actions) {
    if (action.type === 'xstate.raise') {
      const { event, delay } = action.params as { event: { type: string }; delay?: number };
      if (delay !== undefined && Number.isFinite(delay)) armed.push({ timer: event.type, delayMs: delay });
    } else if (action.type === 'xstate.cancel') {
      // Timers are named by their event, which for `after` is the send id too.
      cancelled.push((action.params as { sendId?: string; id?: string }).sendId ?? '');
    } else {
      effects.push({ type: action.type, ...(action.params as object | undefined) } as Effect);
    }
  }
  return { snapshot, effects, armed, cancelled };
}

/** The single active state of a flat machine. */
export function stateOf<Name extends string>(snapshot: AnyMachineSnapshot): Name {
  return snapshot.value as Name;
}
