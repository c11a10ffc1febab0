import { setTimeout as pause } from 'node:timers/promises';
import type { FleetDensity, Microvm, MicrovmSpecInput } from '#protocol';
import { START_PHASES, START_SPANS, spent } from '../commands/microvm-timings';
import type { RestClient } from '../rest/rest-client';
import { inFlight } from './in-flight';
import { distribution, round, type Distribution } from './percentiles';

export interface StartParameters {
  count: number;
  concurrency: number;
  image: string;
  memoryMiB: number;
  cmdline: string;
  /** `all`: two disks, network, vsock, balloon and random numbers; `image`: what the image has by itself. */
  devices: 'image' | 'all';
  /** ms one start may take. */
  startTimeoutMs: number;
}

export interface StartResult {
  running: number;
  failed: number;
  /** Reasons with how often they were given. */
  failures: Record<string, number>;
  wallMs: number;
  startsPerSecond: number;
  /** ms per phase, by the clocks of controller and host; `client` is what the caller saw. */
  phases: Record<string, Distribution | null>;
  memory: MemoryUse | null;
  deletion: { wallMs: number; perSecond: number; client: Distribution | null };
  /** microVMs of this run that are not deleted at the end. Anything but 0 is a fault. */
  left: number;
}

/** Of all microVMs on the hosts at the time, those of this run among them. */
export interface MemoryUse {
  microvms: number;
  /** Private memory of a VMM process that is not guest memory, mean, KiB. */
  vmmOverheadKiB: number;
  /** Private memory of a VMM process, guest pages included, mean, KiB. */
  vmmPrivateKiB: number;
}

const ALL_DEVICES: Partial<MicrovmSpecInput> = {
  disks: [{ sizeMiB: 16 }, { sizeMiB: 16 }],
  network: { egress: 'open' },
  vsock: true,
  balloon: true,
  rng: true,
};

export const BENCH_LABEL = 'volley.dev/bench';
const GIVE_UP_AFTER = 20;
/** Density is reported every few seconds. */
const DENSITY_WAIT_MS = 15_000;
const CLEAN_UP_MS = 120_000;

/** Starts microVMs through the whole path, measures, deletes them all, and checks that they are gone; also when it is aborted. */
export async function benchStart(
  client: RestClient,
  parameters: StartParameters,
  runId: string,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<StartResult> {
  const started: { microvm: Microvm; clientMs: number }[] = [];
  const failures: Record<string, number> = {};
  let failedInARow = 0;
  const enough = new AbortController();
  const stop = AbortSignal.any([signal, enough.signal]);

  const startedMs = performance.now();
  await inFlight(parameters.count, parameters.concurrency, stop, async (index) => {
    const beganMs = performance.now();
    try {
      const microvm = await start(client, parameters, runId, index);
      started.push({ microvm, clientMs: performance.now() - beganMs });
      failedInARow = 0;
    } catch (error) {
      const reason = (error as Error).message.replace(/\b[0-9a-hjkmnp-tv-z]{26}\b/g, 'ID');
      failures[reason] = (failures[reason] ?? 0) + 1;
      if (++failedInARow >= GIVE_UP_AFTER) enough.abort();
    }
  });
  const wallMs = performance.now() - startedMs;

  progress(`${started.length} run; measuring their memory`);
  const memory = stop.aborted || started.length === 0 ? null : await memoryUse(client, started.length, signal);
  progress('deleting them');
  const deletion = await deleteAll(client, runId, parameters.concurrency);

  const phases: StartResult['phases'] = {};
  for (const phase of [...START_PHASES, ...START_SPANS]) {
    phases[phase.name] = distribution(started.flatMap(({ microvm }) => spent(microvm.timings, phase) ?? [])) ?? null;
  }
  phases['client'] = distribution(started.map(({ clientMs }) => clientMs)) ?? null;
  return {
    running: started.length,
    failed: Object.values(failures).reduce((sum, times) => sum + times, 0),
    failures,
    wallMs: round(wallMs),
    startsPerSecond: round((started.length / wallMs) * 1_000),
    phases,
    memory,
    ...deletion,
  };
}

async function start(client: RestClient, parameters: StartParameters, runId: string, index: number): Promise<Microvm> {
  const { image, memoryMiB, cmdline, devices, startTimeoutMs } = parameters;
  const { status, body } = await client.answer<Microvm>('POST', '/v1/microvms', {
    body: {
      name: `bench-${index}`,
      image,
      memoryMiB,
      cmdline,
      labels: { [BENCH_LABEL]: runId },
      ...(devices === 'all' ? ALL_DEVICES : {}),
    },
    query: { wait: 'running', timeout: `${startTimeoutMs}ms` },
    deadlineMs: startTimeoutMs + 10_000,
  });
  if (status === 202) throw new Error(`${body.state} after ${startTimeoutMs} ms`);
  return body;
}

/** From the first density report that counts them all. */
async function memoryUse(client: RestClient, running: number, signal: AbortSignal): Promise<MemoryUse | null> {
  const end = performance.now() + DENSITY_WAIT_MS;
  while (performance.now() < end && !signal.aborted) {
    const { hosts } = await client
      .get<FleetDensity>('/v1/density')
      .catch(() => ({ hosts: [] }) as unknown as FleetDensity);
    const microvms = hosts.reduce((sum, host) => sum + host.microvms, 0);
    const privateMiB = hosts.reduce((sum, { used }) => sum + used.privateMiB, 0);
    const overheadMiB = hosts.reduce((sum, { used }) => sum + used.overheadMiB, 0);
    // A report may count them before it has sampled each of them once.
    if (microvms >= running && privateMiB > 0) {
      return {
        microvms,
        vmmOverheadKiB: round((overheadMiB * 1_024) / microvms),
        vmmPrivateKiB: round((privateMiB * 1_024) / microvms),
      };
    }
    await pause(250);
  }
  return null;
}

/** Deletes by label rather than by what was answered: a start whose answer was lost may have made one too. */
async function deleteAll(
  client: RestClient,
  runId: string,
  concurrency: number,
): Promise<Pick<StartResult, 'deletion' | 'left'>> {
  const startedMs = performance.now();
  const end = startedMs + CLEAN_UP_MS;
  const times: number[] = [];
  let left = await ofRun(client, runId);
  while (left.length > 0 && performance.now() < end) {
    await inFlight(left.length, concurrency, new AbortController().signal, async (index) => {
      const beganMs = performance.now();
      try {
        const { status } = await client.answer('DELETE', `/v1/microvms/${left[index]!.id}`, {
          query: { wait: 'deleted', timeout: '30s' },
          deadlineMs: 40_000,
        });
        if (status === 200) times.push(performance.now() - beganMs);
      } catch {
        // the next round tries again
      }
    });
    left = await ofRun(client, runId);
  }
  const wallMs = performance.now() - startedMs;
  return {
    deletion: {
      wallMs: round(wallMs),
      perSecond: round((times.length / wallMs) * 1_000),
      client: distribution(times) ?? null,
    },
    left: left.length,
  };
}

async function ofRun(client: RestClient, runId: string): Promise<Microvm[]> {
  const found: Microvm[] = [];
  for await (const one of client.pages<Microvm>('/v1/microvms', { label: `${BENCH_LABEL}=${runId}` })) found.push(one);
  return found;
}
