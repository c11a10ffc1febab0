import type { MicrovmClass, ReclaimStep } from '#protocol';
import { round, type GuardReading } from './readings';

/**
 * Where each step begins, in percent of the memory that the host may use. Before them all comes what needs no decision: guests with a
 * balloon report their free pages, and the host takes them. After them all would come the kernel's OOM killer.
 */
export const RECLAIM = {
  balloonBelow: 12,
  suspendBelow: 10,
  evictBelow: 8,
  /** There is no time for the milder steps, nor for waiting. */
  urgentBelow: 4,
  /** Memory that shrinks counts as what will be left of it after so long, which a step takes to show, ms. */
  aheadMs: 1_000,
  /** As much is to be available again: enough for the gate of best effort to open, so that whoever had to go can come back. */
  until: 16,
  /** Balloons are given back above this, once it has been so for {@link RECLAIM.calmMs}. */
  deflateAbove: 30,
  calmMs: 10_000,
  /** How long a step may take to show before the next one, ms. */
  settleMs: 1_000,
  /** So long without work makes a guest idle, ms. */
  idleMs: 5_000,
  /** An idle guest keeps this part of its memory, percent. */
  balloonLeaves: 25,
} as const;

/** A microVM of which memory might be taken back. */
export interface ReclaimCandidate {
  microvmId: string;
  class: MicrovmClass;
  memoryMiB: number;
  /** Of the host's memory, what it holds. */
  residentMiB: number;
  /** How long it has had nothing to do, ms; undefined: not known. */
  idleMs: number | undefined;
  /** What its balloon was told to take; undefined: it has none. */
  balloonMiB: number | undefined;
  /** Whether it can be put on the disk and go on from there. */
  canSuspend: boolean;
  /** It is being suspended or ended already: what it holds will be free soon. */
  isLeaving: boolean;
}

export interface ReclaimState {
  /** When the last step was taken, ms of a steady clock. */
  actedAtMs: number;
  /** Since when there is plenty, for giving balloons back. */
  plentySinceMs: number | undefined;
  /** The look before, and how fast memory went then, MiB per ms. */
  last?: { atMs: number; availableMiB: number; fall: number };
}
export const RECLAIM_IDLE: ReclaimState = { actedAtMs: -Infinity, plentySinceMs: undefined };

export type ReclaimAction = ReclaimStep & { mib: number };

/**
 * What to take back now, and from whom: from idle guests first, by balloon and then by suspending them, and at last by ending
 * best-effort ones, those that hold the most first, so that few are ended. Only ever from those of the class `bestEffort`.
 */
export function reclaim(
  state: ReclaimState,
  reading: GuardReading,
  candidates: readonly ReclaimCandidate[],
  atMs: number,
): { state: ReclaimState; actions: ReclaimAction[] } {
  const { usableMiB } = reading;
  const last = { atMs, availableMiB: reading.availableMiB, fall: fallOf(state, reading, atMs) };
  const available = ahead(reading, last.fall);
  const mine = candidates.filter((one) => one.class === 'bestEffort');
  const staying = mine.filter(({ isLeaving }) => !isLeaving);
  const comingMiB = mine.reduce((sum, { isLeaving, residentMiB }) => sum + (isLeaving ? residentMiB : 0), 0);
  const wantedMiB = ((RECLAIM.until - available) / 100) * usableMiB - comingMiB;
  if (available >= RECLAIM.balloonBelow) return giveBack({ ...state, last }, reading, staying, atMs);
  const isUrgent = available < RECLAIM.urgentBelow;
  const settled = isUrgent || atMs - state.actedAtMs >= RECLAIM.settleMs;
  if (!settled || wantedMiB <= 0) return { state: { ...state, last, plentySinceMs: undefined }, actions: [] };
  const steps = [
    () => balloons(staying, reading),
    () => (available < RECLAIM.suspendBelow ? suspensions(staying, reading, wantedMiB) : []),
    () => (available < RECLAIM.evictBelow ? evictions(staying, reading, wantedMiB) : []),
  ];
  const actions = isUrgent ? evictions(staying, reading, wantedMiB) : firstOf(steps);
  const actedAtMs = actions.length > 0 ? atMs : state.actedAtMs;
  return { state: { actedAtMs, last, plentySinceMs: undefined }, actions };
}

/** How fast available memory shrinks, MiB per ms; half of it is from the looks before. */
function fallOf({ last }: ReclaimState, { availableMiB }: GuardReading, atMs: number): number {
  if (!last || atMs <= last.atMs) return last?.fall ?? 0;
  return Math.max(0, (last.availableMiB - availableMiB) / (atMs - last.atMs) + last.fall) / 2;
}

/** Percent that will be available by the time that a step shows. Where there is enough, growth is nobody's business. */
function ahead({ availableMemory, usableMiB }: GuardReading, fall: number): number {
  if (availableMemory >= RECLAIM.until) return availableMemory;
  return availableMemory - (100 * fall * RECLAIM.aheadMs) / usableMiB;
}

function firstOf(steps: (() => ReclaimAction[])[]): ReclaimAction[] {
  for (const step of steps) {
    const actions = step();
    if (actions.length > 0) return actions;
  }
  return [];
}

const isIdle = ({ idleMs }: ReclaimCandidate): boolean => idleMs !== undefined && idleMs >= RECLAIM.idleMs;

const shortOf = ({ availableMemory, availableMiB, usableMiB }: GuardReading, limit: number): string =>
  `available memory ${round(availableMemory)} % (${Math.round(availableMiB)} of ${Math.round(usableMiB)} MiB) is below ${limit} %`;

/** All at once: it costs an idle guest nothing that it needs now. */
function balloons(staying: readonly ReclaimCandidate[], reading: GuardReading): ReclaimAction[] {
  const short = shortOf(reading, RECLAIM.balloonBelow);
  return staying
    .filter((one) => one.balloonMiB === 0 && isIdle(one))
    .map(({ microvmId, memoryMiB, idleMs }) => ({
      ...{ microvmId, step: 'balloon' as const },
      mib: Math.floor((memoryMiB * (100 - RECLAIM.balloonLeaves)) / 100),
      reason: `${short}; it has been idle for ${Math.round(idleMs! / 1_000)} s`,
    }))
    .filter(({ mib }) => mib > 0);
}

/** Longest idle first, as many as are needed. */
function suspensions(staying: readonly ReclaimCandidate[], reading: GuardReading, wantedMiB: number): ReclaimAction[] {
  const short = shortOf(reading, RECLAIM.suspendBelow);
  const order = staying.filter((one) => one.canSuspend && isIdle(one)).sort((a, b) => b.idleMs! - a.idleMs!);
  return enough(order, wantedMiB, ({ microvmId, idleMs, residentMiB }) => ({
    ...{ microvmId, step: 'suspend' as const, mib: residentMiB },
    reason: `${short}; it has been idle for ${Math.round(idleMs! / 1_000)} s`,
  }));
}

function evictions(staying: readonly ReclaimCandidate[], reading: GuardReading, wantedMiB: number): ReclaimAction[] {
  const short = shortOf(reading, RECLAIM.evictBelow);
  const order = [...staying].sort((a, b) => b.residentMiB - a.residentMiB || (a.microvmId < b.microvmId ? 1 : -1));
  return enough(order, wantedMiB, ({ microvmId, residentMiB }) => ({
    ...{ microvmId, step: 'evict' as const, mib: residentMiB },
    reason: `${short}; of ${staying.length} best-effort microVMs it held ${Math.round(residentMiB)} MiB`,
  }));
}

function enough(
  order: readonly ReclaimCandidate[],
  wantedMiB: number,
  actionOf: (one: ReclaimCandidate) => ReclaimAction,
): ReclaimAction[] {
  const actions: ReclaimAction[] = [];
  for (let left = wantedMiB; left > 0 && actions.length < order.length;) {
    const one = order[actions.length]!;
    actions.push(actionOf(one));
    left -= one.residentMiB;
  }
  return actions;
}

/** There is memory: after a while of it balloons are let go. */
function giveBack(
  state: ReclaimState,
  { availableMemory: available }: GuardReading,
  staying: readonly ReclaimCandidate[],
  atMs: number,
): { state: ReclaimState; actions: ReclaimAction[] } {
  if (available < RECLAIM.deflateAbove) return { state: { ...state, plentySinceMs: undefined }, actions: [] };
  const { plentySinceMs = atMs } = state;
  if (atMs - plentySinceMs < RECLAIM.calmMs) return { state: { ...state, plentySinceMs }, actions: [] };
  const actions = staying
    .filter(({ balloonMiB = 0 }) => balloonMiB > 0)
    .slice(0, 1)
    .map(({ microvmId }) => ({
      ...{ microvmId, step: 'deflate' as const, mib: 0 },
      reason: `available memory has been above ${RECLAIM.deflateAbove} % for ${Math.round((atMs - plentySinceMs) / 1_000)} s`,
    }));
  // One at a time: what they take again must show first.
  return { state: { ...state, plentySinceMs: actions.length > 0 ? atMs : plentySinceMs }, actions };
}
