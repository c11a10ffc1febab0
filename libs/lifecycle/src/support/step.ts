import { createActor, type AnyActorScope, type AnyMachineSnapshot, type AnyStateMachine } from 'xstate';

/** A machine between two events: all that tells one moment of its life from another. Our machines are flat and start no actors. */
export interface Moment {
  readonly state: string;
  readonly context: unknown;
  /** In its final state: nothing is accepted any more. */
  readonly isOver: boolean;
}

/** What one transition asks for besides the next moment. */
export interface Step<Effect> {
  moment: Moment;
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
  const actions: ExecutableAction[] = [];
  const scope = scopeOf(machine, actions);
  return sort(machine.getInitialSnapshot(scope, input as never) as AnyMachineSnapshot, actions);
}

/** One event through the machine's pure transition function; undefined when the moment's state does not accept it. */
export function step<Effect>(
  machine: AnyStateMachine,
  moment: Moment,
  event: { type: string },
): Step<Effect> | undefined {
  // xstate would still answer for the machine as a whole when it has ended.
  if (moment.isOver) return undefined;
  const snapshot = snapshotOf(machine, moment);
  const actions: ExecutableAction[] = [];
  const next = machine.transition(snapshot, event, scopeOf(machine, actions)) as AnyMachineSnapshot;
  // The very same, and nothing to do: no transition took the event. To ask `can` before would evaluate every guard twice.
  return next === snapshot && actions.length === 0 ? undefined : sort(next, actions);
}

const scopes = new WeakMap<AnyStateMachine, AnyActorScope>();

/**
 * What a machine's `transition` is called with (xstate's ActorScope): an actor that is never started, so that all it does is hand over
 * its actions. xstate's `transition()` makes one for every call, which costs more than the transition.
 */
function scopeOf(machine: AnyStateMachine, actions: ExecutableAction[]): AnyActorScope {
  let scope = scopes.get(machine);
  if (!scope) {
    const self = createActor(machine);
    const nothing = (): void => {};
    scope = {
      self,
      id: '',
      sessionId: '',
      system: self.system,
      logger: nothing,
      defer: nothing,
      emit: nothing,
      stopChild: nothing,
      actionExecutor: nothing,
    };
    scopes.set(machine, scope);
  }
  scope.actionExecutor = (action) => void actions.push(action as ExecutableAction);
  return scope;
}

const templates = new WeakMap<AnyStateMachine, Map<string, AnyMachineSnapshot>>();

/** Snapshots of one state differ in their context alone, and take ten times the memory: they are made for the moment of a transition. */
function snapshotOf(machine: AnyStateMachine, { state, context }: Moment): AnyMachineSnapshot {
  let ofMachine = templates.get(machine);
  if (!ofMachine) templates.set(machine, (ofMachine = new Map()));
  let template = ofMachine.get(state);
  if (!template)
    ofMachine.set(state, (template = machine.resolveState({ value: state, context }) as AnyMachineSnapshot));
  return { ...template, context: context as never };
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
  const moment = {
    state: snapshot.value as string,
    context: snapshot.context as unknown,
    isOver: snapshot.status === 'done',
  };
  return { moment, effects, armed, cancelled };
}
