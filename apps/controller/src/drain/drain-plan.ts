import { microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import {
  DRAIN_PLAN_MOST,
  wantedDevices,
  type DrainOrder,
  type DrainPlan,
  type DrainStep,
  type MicrovmSpec,
} from '#protocol';
import { turnOf } from './drain-census';
import type { PlaceElsewhere } from './places-elsewhere';

/** How long a start takes when the fleet has shown none yet, ms. */
const USUAL_START_MS = 1_000;
/** Of so many starts the middle one is taken. */
const STARTS_LOOKED_AT = 200;

export interface PlanInput {
  hostId: string;
  order: DrainOrder;
  at: number;
  /** Those alive on the host, oldest first. */
  alive: readonly MicrovmLife[];
  /** By id of microVM; those not in it were not looked at. */
  places: ReadonlyMap<string, PlaceElsewhere>;
  startMs: number;
}

/** Puts into words and numbers what a drain would do. */
export function planOf({ hostId, order, at, alive, places, startMs }: PlanInput): DrainPlan {
  const all = alive.map((life) => stepOf(life, order, places));
  const counts: DrainPlan['counts'] = { moves: 0, waitsForRoom: 0, waitsForItsEnd: 0, stops: 0, settles: 0 };
  for (const { fate } of all) counts[fate]++;
  const rounds = (count: number): number => Math.ceil(count / order.parallel);
  const leastMs = Math.round(rounds(counts.moves) * startMs);
  const mostMs = leastMs + rounds(counts.moves + counts.stops) * order.graceMs;
  return {
    hostId,
    at,
    ...order,
    counts,
    steps: all.slice(0, DRAIN_PLAN_MOST),
    omitted: Math.max(0, all.length - DRAIN_PLAN_MOST),
    estimate: { leastMs, mostMs },
  };
}

function stepOf(life: MicrovmLife, order: DrainOrder, places: ReadonlyMap<string, PlaceElsewhere>): DrainStep {
  const { spec } = microvmContext(life);
  const state = microvmState(life);
  const about = { microvmId: life.id, name: spec.name ?? null, tenant: spec.tenant, state };
  switch (turnOf(life, order)) {
    case 'move': {
      const place = places.get(life.id);
      if (!place) return { ...about, fate: 'waitsForRoom', to: null, reason: 'not looked at yet', loses: [] };
      if (place.hostId === null) {
        return { ...about, fate: 'waitsForRoom', to: null, reason: place.reason, loses: [] };
      }
      const reason = state === 'paused' ? 'is ended here and runs there, not paused' : 'is ended here and starts there';
      return { ...about, fate: 'moves', to: place.hostId, reason, loses: lostByMove(spec) };
    }
    case 'stop':
      return { ...about, fate: 'stops', to: null, reason: 'stays with its host, stopped', loses: ['memory'] };
    case 'wait':
      return {
        ...about,
        fate: 'waitsForItsEnd',
        to: null,
        reason: 'stays with its host (onHostLoss: keep)',
        loses: [],
      };
    case 'settle': {
      const to = state === 'moving' ? (microvmContext(life).move?.to ?? null) : null;
      return { ...about, fate: 'settles', to, reason: `is ${state} at the moment`, loses: [] };
    }
  }
}

/** Disks are files of the host. */
function lostByMove(spec: MicrovmSpec): DrainStep['loses'] {
  const isLinux = wantedDevices({ image: spec.image } as MicrovmSpec).rng;
  const hasDisks = isLinux || (spec.disks?.length ?? 0) > 0 || spec.rootDiskMiB !== undefined;
  return hasDisks ? ['memory', 'disks'] : ['memory'];
}

/** How long the latest starts of the fleet took, from accepted to running, ms: the middle one. */
export function usualStartMs(lives: Iterable<MicrovmLife>): number {
  const starts: { at: number; ms: number }[] = [];
  for (const life of lives) {
    const { acceptedAt, runningAt } = microvmContext(life).timings;
    if (runningAt !== undefined) starts.push({ at: runningAt, ms: runningAt - acceptedAt });
  }
  const latest = starts.sort((a, b) => b.at - a.at).slice(0, STARTS_LOOKED_AT);
  return latest.sort((a, b) => a.ms - b.ms)[latest.length >> 1]?.ms ?? USUAL_START_MS;
}
