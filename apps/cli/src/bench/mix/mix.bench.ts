import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { DensityReport, FleetDensity, HistoryEntry, Microvm, MicrovmClass, MicrovmSpecInput } from '#protocol';
import { CliError } from '../../errors';
import type { RestClient } from '../../rest/rest-client';
import { RestError } from '../../rest/rest-error';
import { distribution, round, type Distribution } from '../percentiles';
import { mixOf, specOf, type MixMicrovm, type MixSize } from './mix-load';
import { VcpuWaits, type WaitFigures } from './vcpu-waits';

const CREATE_MS = 30_000;
const ATTEMPTS = 10;
const MEASURE_MS = 1_000;
/** Windows of so many measurements are told as well. */
const LONG_WINDOW = 10;
/** Before this the load settles: guests boot and touch their memory. */
const SETTLE_MS = 3_000;
/** So long after it was suspended somebody wants a guest again, and asks each second until it runs. */
const WANTED_AGAIN_MS = 5_000;
/** Of the commitment, what may be missing at any moment while evicted ones are on their way back. */
const LEAST_HELD = 0.8;
/** Memory is promised in whole MiB. */
const WHOLE_MIB = 0.999;

export interface MixParameters extends MixSize {
  seconds: number;
}

export interface MixResult {
  microvms: Record<MicrovmClass, number>;
  /** Commitment that is held / capacity (docs/density.md): what is admitted, and what is suspended there and not asked for. */
  commitment: { cpu: Held | null; memory: Held | null };
  /** Of what is admitted alone, as the host reports it. */
  admitted: { cpu: Held | null; memory: Held | null };
  /** Of the guaranteed in windows of a second, and for comparison of 10 s, and of best effort. */
  wait: WaitFigures;
  waitIn10Seconds: WaitFigures;
  waitOfBestEffort: WaitFigures;
  /** Guaranteed microVMs that were ended, restarted or are not running at the end, with why. */
  guaranteedLost: string[];
  guards: { shut: Record<MicrovmClass, number>; reasons: string[]; secondsShut: Record<MicrovmClass, number> };
  reclaimed: { ballooned: number; suspended: number; evicted: number };
  /** Suspended guests that were asked to go on, and did; how long that took, in looks of a second. */
  resumed: { count: number; afterMs: Distribution | null };
  /** Ends of best-effort microVMs by reason, from their histories. */
  ends: Record<string, number>;
  /** What the kernel's OOM killer took: in all on this machine, and what histories say was best effort. */
  kernelKills: { machine: number; bestEffort: number };
  availableMemoryPercent: Distribution | null;
  bars: Record<string, boolean>;
}

export interface Held extends Distribution {
  min: number;
}

/** A load that hurts on one real host, through the whole path; says whether what was promised was kept. */
export async function benchMix(
  client: RestClient,
  parameters: MixParameters,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<MixResult> {
  const kills = kernelKills();
  const planned = mixOf(parameters);
  progress(`starting ${planned.length} microVMs: ${parameters.ratio}x of what there is`);
  const created = await createAll(client, planned, signal);
  const guaranteed = created.filter((one) => one.class === 'guaranteed');
  const pids = new Set(guaranteed.map(({ pid }) => pid!));
  await pause(SETTLE_MS, undefined, { signal }).catch(() => undefined);
  progress(`measuring for ${parameters.seconds} s`);
  const watch = await watchHost(client, parameters, pids, signal);
  const now: Microvm[] = [];
  const histories: HistoryEntry[][] = [];
  for (const { id } of created) {
    now.push(await answered(() => client.get<Microvm>(`/v1/microvms/${id}`), signal));
    histories.push(await answered(() => historyOf(client, id), signal));
  }
  const ends: Record<string, number> = {};
  now.forEach((one, i) => {
    if (one.class !== 'bestEffort') return;
    for (const reason of endsIn(histories[i]!)) ends[reason] = (ends[reason] ?? 0) + 1;
  });
  const guaranteedLost = now.flatMap((one, i) => {
    const before = created[i]!;
    if (one.class !== 'guaranteed' || (one.state === 'running' && one.pid === before.pid)) return [];
    return [`${one.name ?? one.id} is ${one.state}: ${one.reason ?? endsIn(histories[i]!).join(', ')}`];
  });
  const wait = watch.waits.figures();
  const waits = { wait, waitIn10Seconds: watch.longWaits.figures(), waitOfBestEffort: watch.others.figures() };
  const kernel = { machine: kernelKills() - kills, bestEffort: ends['outOfMemory'] ?? 0 };
  const commitment = { cpu: held(watch.cpu), memory: held(watch.memory) };
  const admitted = { cpu: held(watch.cpuAdmitted), memory: held(watch.memoryAdmitted) };
  const { guards, reclaimed } = watch;
  const resumed = { count: watch.resumedAfterMs.length, afterMs: distribution(watch.resumedAfterMs) ?? null };
  return {
    microvms: { guaranteed: guaranteed.length, bestEffort: created.length - guaranteed.length },
    ...{ commitment, admitted, ...waits, guaranteedLost, guards, reclaimed, resumed, ends, kernelKills: kernel },
    availableMemoryPercent: distribution(watch.available) ?? null,
    bars: {
      commitmentHeld: [commitment.cpu, commitment.memory].every(
        (one) => one && one.p50 >= parameters.ratio * WHOLE_MIB && one.min >= parameters.ratio * LEAST_HELD,
      ),
      guaranteedWaitAtMost5Percent: wait.p99 <= 5,
      noGuaranteedLost: guaranteedLost.length === 0 && guaranteed.length > 0,
      guardsActed: guards.shut.bestEffort > 0 && reclaimed.evicted > 0,
      noKernelKillOutsideBestEffort: kernel.machine <= kernel.bestEffort,
    },
  };
}

/** Guaranteed ones first, one after the other: who comes last finds the host as full as it gets. */
async function createAll(client: RestClient, planned: readonly MixMicrovm[], signal: AbortSignal): Promise<Microvm[]> {
  const created: Microvm[] = [];
  for (const [index, one] of planned.entries()) {
    signal.throwIfAborted();
    const body = await create(client, specOf(one, index), signal);
    if (one.class === 'guaranteed' && body.state !== 'running') {
      throw new CliError(`${body.name} is ${body.state}: ${body.reason}`);
    }
    created.push(body);
  }
  return created;
}

async function create(client: RestClient, spec: MicrovmSpecInput, signal: AbortSignal): Promise<Microvm> {
  // Sent again it makes no second one.
  const headers = { 'idempotency-key': randomUUID() };
  const query = spec.class === 'guaranteed' ? { wait: 'running', timeout: `${CREATE_MS}ms` } : {};
  const options = { body: spec, query, headers, deadlineMs: CREATE_MS + 10_000 };
  return answered(async () => (await client.answer<Microvm>('POST', '/v1/microvms', options)).body, signal);
}

/** On a host that is slow, and as full as this one, an answer may not come in time: the call is repeated. */
async function answered<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const isLate = error instanceof RestError && (error.status === 503 || error.status === 504);
      if (!isLate || attempt === ATTEMPTS || signal.aborted) throw error;
    }
    // Who says at once that it cannot answer now is not asked ten times in a breath.
    await pause(MEASURE_MS, undefined, { signal }).catch(() => undefined);
  }
}

interface Watch {
  waits: VcpuWaits;
  longWaits: VcpuWaits;
  others: VcpuWaits;
  cpu: number[];
  memory: number[];
  cpuAdmitted: number[];
  memoryAdmitted: number[];
  available: number[];
  guards: MixResult['guards'];
  reclaimed: MixResult['reclaimed'];
  resumedAfterMs: number[];
}

/** Looks every second: at the vCPUs by the kernel's figures, at the rest by the host's own reports. */
async function watchHost(
  client: RestClient,
  { cpus, memoryMiB, seconds }: MixParameters,
  pids: Set<number>,
  signal: AbortSignal,
): Promise<Watch> {
  const guards: Watch['guards'] = {
    shut: { guaranteed: 0, bestEffort: 0 },
    reasons: [],
    secondsShut: { guaranteed: 0, bestEffort: 0 },
  };
  const watch: Watch = {
    ...{ waits: new VcpuWaits(), longWaits: new VcpuWaits(), others: new VcpuWaits() },
    ...{ cpu: [], memory: [], cpuAdmitted: [], memoryAdmitted: [], available: [], guards },
    reclaimed: { ballooned: 0, suspended: 0, evicted: 0 },
    resumedAfterMs: [],
  };
  const since: Partial<Record<MicrovmClass, number>> = {};
  const suspendedAt = new Map<string, number>();
  let seenAt = 0;
  let looks = 0;
  for (const end = performance.now() + seconds * 1_000; performance.now() < end && !signal.aborted; looks++) {
    const nextMs = performance.now() + MEASURE_MS;
    watch.waits.measure(pids);
    if (looks % LONG_WINDOW === 0) watch.longWaits.measure(pids);
    const [report, microvms] = await Promise.all([latest(client), all(client)]);
    watch.others.measure(microvms.flatMap((one) => (one.class === 'bestEffort' && one.pid ? [one.pid] : [])));
    // Seen so before: the report may be older than the list, and count as admitted what was suspended just now.
    const atRest = microvms.filter(
      ({ id, state }) => state === 'suspended' && suspendedAt.has(id) && !isWanted(suspendedAt.get(id)!),
    );
    if (report && report.at !== seenAt) {
      note(watch, report, since, seenAt === 0 ? MEASURE_MS : report.at - seenAt);
      watch.cpu.push(report.overcommit.cpu + sum(atRest, ({ vcpus }) => vcpus) / cpus);
      watch.memory.push(report.overcommit.memory + sum(atRest, (one) => one.memoryMiB) / memoryMiB);
      seenAt = report.at;
    }
    watch.resumedAfterMs.push(...(await askAgain(client, microvms, suspendedAt)));
    await pause(Math.max(0, nextMs - performance.now()), undefined, { signal }).catch(() => undefined);
  }
  watch.waits.measure(pids);
  return watch;
}

/** Somebody wants it again: from then on a suspended guest is missing. */
const isWanted = (suspendedAtMs: number): boolean => performance.now() - suspendedAtMs >= WANTED_AGAIN_MS;

/** Asks for each suspended guest that is wanted. After how long those run that have come back since the look before, ms. */
async function askAgain(
  client: RestClient,
  microvms: readonly Microvm[],
  since: Map<string, number>,
): Promise<number[]> {
  const now = performance.now();
  const after: number[] = [];
  for (const { id, state } of microvms) {
    const at = since.get(id) ?? now;
    if (state === 'running' && since.delete(id)) after.push(round(Math.max(0, now - at - WANTED_AGAIN_MS)));
    if (state !== 'suspended') continue;
    since.set(id, at);
    // Where there is no room it stays suspended, with the reason.
    if (isWanted(at)) await client.post(`/v1/microvms/${id}/resume`, {}).catch(() => undefined);
  }
  return after;
}

function note(watch: Watch, report: DensityReport, since: Partial<Record<MicrovmClass, number>>, ms: number): void {
  const { guards, overcommit } = report;
  watch.cpuAdmitted.push(round(overcommit.cpu));
  watch.memoryAdmitted.push(round(overcommit.memory));
  if (!guards) return;
  watch.available.push(round(guards.reading.availableMemory));
  watch.reclaimed = guards.reclaimed;
  for (const one of ['guaranteed', 'bestEffort'] as const) {
    const gate = guards.gates[one];
    if (gate.open) continue;
    watch.guards.secondsShut[one] = round(watch.guards.secondsShut[one] + ms / 1_000);
    if (since[one] === gate.since) continue;
    since[one] = gate.since;
    watch.guards.shut[one]++;
    if (gate.reason !== undefined && watch.guards.reasons.length < 20)
      watch.guards.reasons.push(`${one}: ${gate.reason}`);
  }
}

const held = (values: readonly number[]): Held | null => {
  const found = distribution(values);
  return found ? { min: round(Math.min(...values)), ...found } : null;
};

const sum = (of: readonly Microvm[], pick: (one: Microvm) => number): number =>
  of.reduce((all, one) => all + pick(one), 0);

async function all(client: RestClient): Promise<Microvm[]> {
  return client.get<{ items: Microvm[] }>('/v1/microvms?limit=1000').then(
    ({ items }) => items,
    () => [],
  );
}

async function latest(client: RestClient): Promise<DensityReport | undefined> {
  return client.get<FleetDensity>('/v1/density').then(
    ({ hosts }) => hosts[0],
    () => undefined,
  );
}

async function historyOf(client: RestClient, id: string): Promise<HistoryEntry[]> {
  const { entries } = await client.get<{ entries: HistoryEntry[] }>(`/v1/microvms/${id}/history`);
  return entries;
}

function endsIn(history: readonly HistoryEntry[]): string[] {
  return history.flatMap(({ events }) =>
    events.flatMap((event) => (event.type === 'exited' ? [(event['exit'] as { reason: string }).reason] : [])),
  );
}

/** Processes that the kernel has ended for memory since it booted, in control groups too. */
function kernelKills(): number {
  return Number(/^oom_kill (\d+)/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1] ?? 0);
}
