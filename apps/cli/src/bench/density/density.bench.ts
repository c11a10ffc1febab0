import { setTimeout as pause } from 'node:timers/promises';
import { marginalCostKiB } from '#density';
import type { FleetDensity, Microvm, VmmChoice } from '#protocol';
import { START_PHASES, START_SPANS, spent } from '../../commands/microvm-timings';
import type { RestClient } from '../../rest/rest-client';
import { RestError } from '../../rest/rest-error';
import { vmmProcesses } from '../../supervisor/vmm-processes';
import { inFlight } from '../in-flight';
import { distribution, round, type Distribution } from '../percentiles';
import { leftovers, thingsOf, type HostThings } from './host-things';
import { memoryOf, readUsage, vmmCpuMs, type UsagePoint, type VmmMemory } from './host-usage';
import type { OwnFleet } from './own-fleet';
import { startWindows, type StartWindow } from './start-windows';

export interface DensityParameters {
  count: number;
  /** Creates in flight at any time. */
  concurrency: number;
  image: string;
  memoryMiB: number;
  /** A stand-in has no guest: what is measured then is all the rest. */
  vmm: VmmChoice;
}

export interface DensityResult {
  running: number;
  /** Creates that were answered "come back later", and were sent again. */
  turnedAway: number;
  failures: Record<string, number>;
  /** From the first create that is sent to the last microVM of which the client hears that it runs. */
  wallMs: number;
  startsPerSecond: number;
  /** ms per step and span, as for `bench start`; `client` is what the caller saw. */
  phases: Record<string, Distribution | null>;
  /** By the order of admission. `slowdown`: p99 of the last window / p99 of the first, from admission to guest code. */
  windows: StartWindow[];
  slowdown: { p50: number; p99: number } | null;
  /** The host while it was filled. */
  fill: UsagePoint[];
  memory: {
    /** One more microVM, everything on this host included, beyond its own guest pages: slope by least squares. */
    marginalCostKiB: number | null;
    /** The same without what the control plane and the agent grew by; they are elsewhere in a fleet, or there once. */
    marginalCostAloneKiB: number | null;
    vmms: VmmMemory;
  };
  teardown: {
    deleted: Distribution | null;
    /** From the first delete that is sent until every microVM is on record as deleted. */
    deletedMs: number;
    /** The same, until the host holds what it held before the first create. */
    reclaimedMs: number | null;
  };
  before: HostThings;
  after: HostThings;
  /** What the host holds more than before. Anything is a fault. */
  leaked: string[];
}

/** cgroups of slots are kept, empty, for the next microVM there. */
const KEPT = ['cgroups'] as const;
const WINDOW = 500;
const START_MS = 60_000;
const AGAIN_MS = 250;
const SETTLE_MS = 3_000;
const RECLAIM_MS = 30_000;
const GIVE_UP_AFTER = 20;

/** Fills the host of a fleet, measures while it fills, empties it again, and looks for what was left behind. */
export async function benchDensity(
  fleet: OwnFleet,
  parameters: DensityParameters,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<DensityResult> {
  const { client, settings, folder } = fleet;
  const pids = fleet.pids();
  const scan = (): HostThings => thingsOf({ hostDir: folder.host, runDir: settings.runDir, pid: pids['hostd'] });
  const before = scan();

  progress(`starting ${parameters.count}, ${parameters.concurrency} in flight`);
  const filled = await fill(client, parameters, pids, signal);
  progress(`${filled.ids.length} run after ${Math.round(filled.wallMs)} ms; measuring their memory`);
  await pause(SETTLE_MS, undefined, { signal }).catch(() => undefined);
  const vmms = memoryOf(
    vmmProcesses(settings.runDir).map(({ pid }) => pid),
    parameters.memoryMiB,
  );
  const started = await allOf(client);
  const windows = startWindows(started, filled.points, WINDOW, vmmCpuMs);

  progress('deleting them');
  const teardown = await empty(client, filled.ids, parameters.concurrency);
  const left = await untilReclaimed(client, scan, before, teardown.beganMs);

  const guestKiB = vmms.vmms > 0 ? vmms.guestKiB / vmms.vmms : 0;
  const cost = (used: (point: UsagePoint) => number): number | null =>
    marginalCostKiB(
      filled.points.map((point) => ({
        microvms: point.microvms,
        hostUsedKiB: used(point),
        guestKiB: guestKiB * point.microvms,
      })),
    ) ?? null;
  return {
    running: filled.ids.length,
    turnedAway: filled.turnedAway,
    failures: filled.failures,
    wallMs: round(filled.wallMs),
    startsPerSecond: round((filled.ids.length / filled.wallMs) * 1_000),
    phases: {
      ...Object.fromEntries(
        [...START_PHASES, ...START_SPANS].map((phase) => [
          phase.name,
          distribution(started.flatMap(({ timings }) => spent(timings, phase) ?? [])) ?? null,
        ]),
      ),
      client: distribution(filled.clientMs) ?? null,
    },
    windows,
    slowdown: slowdownOf(windows),
    fill: filled.points,
    memory: {
      marginalCostKiB: cost(({ hostUsedKiB }) => hostUsedKiB),
      marginalCostAloneKiB: cost(({ hostUsedKiB, controlPlaneKiB }) => hostUsedKiB - controlPlaneKiB),
      vmms,
    },
    teardown: {
      deleted: distribution(teardown.clientMs) ?? null,
      deletedMs: round(teardown.deletedMs),
      reclaimedMs: left.leaked.length === 0 ? round(left.atMs) : null,
    },
    before,
    after: left.after,
    leaked: left.leaked,
  };
}

async function fill(
  client: RestClient,
  parameters: DensityParameters,
  pids: Record<string, number>,
  signal: AbortSignal,
): Promise<{
  ids: string[];
  clientMs: number[];
  points: UsagePoint[];
  failures: Record<string, number>;
  turnedAway: number;
  wallMs: number;
}> {
  const ids: string[] = [];
  const clientMs: number[] = [];
  const failures: Record<string, number> = {};
  let turnedAway = 0;
  let failedInARow = 0;
  const enough = new AbortController();
  const stop = AbortSignal.any([signal, enough.signal]);
  const beganMs = performance.now();
  const points = [readUsage(0, 0, pids)];
  await inFlight(parameters.count, parameters.concurrency, stop, async (index) => {
    const sentMs = performance.now();
    for (;;) {
      try {
        ids.push(await start(client, parameters, index));
        clientMs.push(performance.now() - sentMs);
        failedInARow = 0;
        if (ids.length % WINDOW === 0) points.push(readUsage(ids.length, performance.now() - beganMs, pids));
        return;
      } catch (error) {
        if (error instanceof RestError && (error.status === 429 || error.status === 503) && !stop.aborted) {
          turnedAway++;
          await pause(AGAIN_MS * (1 + Math.random()));
          continue;
        }
        const reason = (error as Error).message.replace(/\b[0-9a-hjkmnp-tv-z]{26}\b/g, 'ID');
        failures[reason] = (failures[reason] ?? 0) + 1;
        if (++failedInARow >= GIVE_UP_AFTER) enough.abort();
        return;
      }
    }
  });
  return { ids, clientMs, points, failures, turnedAway, wallMs: performance.now() - beganMs };
}

async function start(client: RestClient, parameters: DensityParameters, index: number): Promise<string> {
  const { image, memoryMiB } = parameters;
  const { body } = await client.answer<Microvm>('POST', '/v1/microvms', {
    body: { name: `density-${index}`, image, memoryMiB },
    query: { wait: 'running', timeout: `${START_MS}ms` },
    deadlineMs: START_MS + 10_000,
  });
  if (body.state !== 'running')
    throw new Error(`${body.state} after ${START_MS} ms: ${body.reason ?? 'no reason given'}`);
  return body.id;
}

async function empty(
  client: RestClient,
  ids: readonly string[],
  concurrency: number,
): Promise<{ beganMs: number; deletedMs: number; clientMs: number[] }> {
  const beganMs = performance.now();
  const clientMs: number[] = [];
  await inFlight(ids.length, concurrency, new AbortController().signal, async (index) => {
    const sentMs = performance.now();
    const answer = await client
      .answer('DELETE', `/v1/microvms/${ids[index]}`, {
        query: { wait: 'deleted', timeout: '30s' },
        deadlineMs: 40_000,
      })
      .catch(() => undefined); // what is left is seen on the host
    if (answer?.status === 200) clientMs.push(performance.now() - sentMs);
  });
  return { beganMs, deletedMs: performance.now() - beganMs, clientMs };
}

async function untilReclaimed(
  client: RestClient,
  scan: () => HostThings,
  before: HostThings,
  beganMs: number,
): Promise<{ after: HostThings; leaked: string[]; atMs: number }> {
  for (const end = performance.now() + RECLAIM_MS; ;) {
    const after = scan();
    const slots = await slotsInUse(client);
    const leaked = [...leftovers(before, after, KEPT), ...(slots > 0 ? [`${slots} slots`] : [])];
    if (leaked.length === 0 || performance.now() > end) return { after, leaked, atMs: performance.now() - beganMs };
    await pause(200);
  }
}

async function slotsInUse(client: RestClient): Promise<number> {
  const { hosts } = await client.get<FleetDensity>('/v1/density');
  return hosts.reduce((sum, { slots }) => sum + slots.used, 0);
}

async function allOf(client: RestClient): Promise<Microvm[]> {
  const found: Microvm[] = [];
  for await (const one of client.pages<Microvm>('/v1/microvms')) found.push(one);
  return found;
}

function slowdownOf(windows: readonly StartWindow[]): DensityResult['slowdown'] {
  const [first, last] = [windows[0]?.admissionToGuest, windows.at(-1)?.admissionToGuest];
  if (!first || !last || windows.length < 2) return null;
  return { p50: round(last.p50 / first.p50), p99: round(last.p99 / first.p99) };
}
