import { setTimeout as pause } from 'node:timers/promises';
import type { FleetDensity, Host, Microvm } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { RestClient } from '../rest/rest-client';

/** The label by which the canary of `volley up` is found again. */
export const FIRST_LIGHT_LABEL = 'volley.dev/first-light';
const WAIT_MS = 20_000;
const MEMORY_MIB = 16;

export interface FirstLight {
  microvm: Microvm;
  how: 'created' | 'started again' | 'was running';
}

/** Waits until a host takes microVMs and has said how much room it has. */
export async function untilHostReady(client: RestClient, hostId: string, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const { items } = await client.get<{ items: Host[] }>('/v1/hosts');
    const state = items.find(({ id }) => id === hostId)?.state;
    let what = state === undefined ? 'has not registered' : `is ${state}`;
    if (state === 'ready') {
      const { hosts } = await client.get<FleetDensity>('/v1/density').catch(() => ({ hosts: [] }));
      if (hosts.some((report) => report.hostId === hostId)) return;
      what = 'has not reported its density';
    }
    if (performance.now() > end)
      throw new CliError(`host ${hostId} ${what} after ${deadlineMs / 1_000} s`, ExitCode.timeout);
    await pause(50);
  }
}

/** One canary that runs, through the same path as every other microVM: the one of an earlier `up`, or a new one. */
export async function firstLight(client: RestClient, waitMs = WAIT_MS): Promise<FirstLight> {
  const query = { wait: 'running', timeout: `${waitMs}ms` };
  const deadlineMs = waitMs + 5_000;
  const { items } = await client.get<{ items: Microvm[] }>('/v1/microvms', {
    query: { label: [`${FIRST_LIGHT_LABEL}=true`] },
  });
  const running = items.find(({ state }) => state === 'running');
  if (running) return { microvm: running, how: 'was running' };
  const ended = items.find(({ state }) => state === 'stopped' || state === 'failed');
  if (ended) {
    const microvm = await client.post<Microvm>(`/v1/microvms/${ended.id}/start`, { body: {}, query, deadlineMs });
    return { microvm: mustRun(microvm, waitMs), how: 'started again' };
  }
  const body = { name: 'first-light', image: 'canary', memoryMiB: MEMORY_MIB, labels: { [FIRST_LIGHT_LABEL]: 'true' } };
  const microvm = await client.post<Microvm>('/v1/microvms', { body, query, deadlineMs });
  return { microvm: mustRun(microvm, waitMs), how: 'created' };
}

function mustRun(microvm: Microvm, waitMs: number): Microvm {
  if (microvm.state === 'running') return microvm;
  throw new CliError(
    `the canary ${microvm.id} is ${microvm.state} after ${waitMs / 1_000} s: ${microvm.reason ?? 'no reason given'}`,
    ExitCode.timeout,
  );
}
