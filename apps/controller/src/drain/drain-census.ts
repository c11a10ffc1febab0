import { microvmContext, microvmState, ON_HOST, type MicrovmLife } from '#lifecycle';
import type { DrainOrder, DrainProgress, MicrovmStateName } from '#protocol';

const ENDING: ReadonlySet<MicrovmStateName> = new Set(['moving', 'stopping', 'deleting']);
/** On its way to run again. */
const COMING: ReadonlySet<MicrovmStateName> = new Set(['requested', 'placing', 'starting']);

/** What a drain has to do with one microVM that is alive on the host. */
export type Turn =
  /** It is to be moved; for that, there must be room elsewhere. */
  | 'move'
  | 'stop'
  /** It stays with its host and is waited for. */
  | 'wait'
  /** It is being ended, or on its way from one state to another: not now. */
  | 'settle';

export function turnOf(life: MicrovmLife, { kept }: Pick<DrainOrder, 'kept'>): Turn {
  const state = microvmState(life);
  const rests = state === 'running' || state === 'paused';
  if (microvmContext(life).spec.onHostLoss === 'reschedule') return rests ? 'move' : 'settle';
  if (kept === 'wait') return ENDING.has(state) ? 'settle' : 'wait';
  return rests || state === 'unreachable' ? 'stop' : 'settle';
}

/** The microVMs that a drain is about, as the histories show them. */
export interface DrainCensus {
  /** Alive on the host, oldest first. */
  alive: MicrovmLife[];
  progress: DrainProgress;
}

/**
 * Counts from the histories alone, so that whoever takes over a drain counts the same. `since`: when it was asked for, ms since 1970; what
 * ended before does not concern it.
 */
export function takeCensus(hostId: string, since: number, lives: Iterable<MicrovmLife>): DrainCensus {
  const alive: MicrovmLife[] = [];
  const progress: DrainProgress = { total: 0, moved: 0, moving: 0, waiting: 0, stopped: 0, failed: 0 };
  for (const life of lives) {
    const { hostId: at, move } = microvmContext(life);
    const wasMoved = move?.from === hostId && move.at >= since;
    if (at !== hostId && !wasMoved) continue;
    const state = microvmState(life);
    if (at === hostId && ON_HOST.has(state)) alive.push(life);
    const counted = categoryOf(life, { hostId, since, wasMoved });
    if (counted === undefined) continue;
    progress.total++;
    progress[counted]++;
  }
  alive.sort((a, b) => (a.id < b.id ? -1 : 1));
  return { alive, progress };
}

type Category = Exclude<keyof DrainProgress, 'total'>;

function categoryOf(
  life: MicrovmLife,
  { hostId, since, wasMoved }: { hostId: string; since: number; wasMoved: boolean },
): Category | undefined {
  const state = microvmState(life);
  const { hostId: at, restarts, timings } = microvmContext(life);
  const isHere = at === hostId;
  if (isHere && ON_HOST.has(state)) return ENDING.has(state) ? 'moving' : 'waiting';
  const down = state === 'stopped' || state === 'failed';
  if (!wasMoved) return down && life.enteredAt >= since ? 'stopped' : undefined;
  // What has run elsewhere was moved, whatever became of it there.
  const ranElsewhere = timings.runningAt !== undefined || restarts > 0;
  if (ranElsewhere && !isHere) return 'moved';
  if (COMING.has(state)) return 'moving';
  if (state === 'failed') return 'failed';
  return isHere && state === 'stopped' ? 'stopped' : undefined;
}
