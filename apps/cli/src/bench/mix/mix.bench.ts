import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { DensityReport, FleetDensity, HistoryEntry, Microvm, MicrovmClass } from '#protocol';
import { CliError } from '../../errors';
import type { RestClient } from '../../rest/rest-client';
import { distribution, round, type Distribution } from '../percentiles';
import { mixOf, specOf, type MixMicrovm, type MixSize } from './mix-load';
import { VcpuWaits, type WaitFigures } from './vcpu-waits';

const CREATE_MS = 30_000;
const MEASURE_MS = 1_000;
/** Before this the load settles: guests boot and touch their memory. */
const SETTLE_MS = 3_000;

export interface MixParameters extends MixSize {
  seconds: number;
}

export interface MixResult {
  microvms: Record<MicrovmClass, number>;
  /** By what was promised at each look: commitment / capacity. */
  commitment: { cpu: Distribution | null; memory: Distribution | null };
  wait: WaitFigures;
  /** Guaranteed microVMs that were ended, restarted or are not running at the end, with why. */
  guaranteedLost: string[];
  guards: { shut: Record<MicrovmClass, number>; reasons: string[]; secondsShut: Record<MicrovmClass, number> };
  reclaimed: { ballooned: number; suspended: number; evicted: number };
  /** Ends of best-effort microVMs by reason, from their histories. */
  ends: Record<string, number>;
  /** What the kernel's OOM killer took: in all on this machine, and what histories say was best effort. */
  kernelKills: { machine: number; bestEffort: number };
  availableMemoryPercent: Distribution | null;
  bars: Record<string, boolean>;
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
  const watch = await watchHost(client, pids, parameters.seconds * 1_000, signal);
  const now = await Promise.all(created.map(({ id }) => client.get<Microvm>(`/v1/microvms/${id}`)));
  const histories = await Promise.all(created.map(({ id }) => historyOf(client, id)));
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
  const kernel = { machine: kernelKills() - kills, bestEffort: ends['outOfMemory'] ?? 0 };
  const commitment = { cpu: distribution(watch.cpu) ?? null, memory: distribution(watch.memory) ?? null };
  const { guards, reclaimed } = watch;
  return {
    microvms: { guaranteed: guaranteed.length, bestEffort: created.length - guaranteed.length },
    ...{ commitment, wait, guaranteedLost, guards, reclaimed, ends, kernelKills: kernel },
    availableMemoryPercent: distribution(watch.available) ?? null,
    bars: {
      // 0.1 %: memory is promised in whole MiB.
      commitmentReached: [commitment.cpu, commitment.memory].every((one) => one && one.max >= parameters.ratio * 0.999),
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
    const waits = one.class === 'guaranteed' ? { wait: 'running', timeout: `${CREATE_MS}ms` } : {};
    const { body } = await client.answer<Microvm>('POST', '/v1/microvms', {
      body: specOf(one, index),
      query: waits,
      deadlineMs: CREATE_MS + 10_000,
    });
    if (one.class === 'guaranteed' && body.state !== 'running') {
      throw new CliError(`${body.name} is ${body.state}: ${body.reason}`);
    }
    created.push(body);
  }
  return created;
}

interface Watch {
  waits: VcpuWaits;
  cpu: number[];
  memory: number[];
  available: number[];
  guards: MixResult['guards'];
  reclaimed: MixResult['reclaimed'];
}

/** Looks every second: at the vCPUs by the kernel's figures, at the rest by the host's own reports. */
async function watchHost(client: RestClient, pids: Set<number>, ms: number, signal: AbortSignal): Promise<Watch> {
  const guards: Watch['guards'] = {
    shut: { guaranteed: 0, bestEffort: 0 },
    reasons: [],
    secondsShut: { guaranteed: 0, bestEffort: 0 },
  };
  const watch: Watch = {
    waits: new VcpuWaits(),
    ...{ cpu: [], memory: [], available: [], guards },
    reclaimed: { ballooned: 0, suspended: 0, evicted: 0 },
  };
  const since: Partial<Record<MicrovmClass, number>> = {};
  let seenAt = 0;
  for (const end = performance.now() + ms; performance.now() < end && !signal.aborted;) {
    const nextMs = performance.now() + MEASURE_MS;
    watch.waits.measure(pids);
    const report = await latest(client);
    if (report && report.at !== seenAt) {
      note(watch, report, since, seenAt === 0 ? MEASURE_MS : report.at - seenAt);
      seenAt = report.at;
    }
    await pause(Math.max(0, nextMs - performance.now()), undefined, { signal }).catch(() => undefined);
  }
  watch.waits.measure(pids);
  return watch;
}

function note(watch: Watch, report: DensityReport, since: Partial<Record<MicrovmClass, number>>, ms: number): void {
  const { guards, overcommit } = report;
  watch.cpu.push(round(overcommit.cpu));
  watch.memory.push(round(overcommit.memory));
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
