import { setTimeout as pause } from 'node:timers/promises';
import { MICROVM_STATES, type Microvm } from '#protocol';
import { CliError } from '../errors';
import type { RestClient } from '../rest/rest-client';

/** States in which something of it may run, or still come to run. */
const ACTIVE = MICROVM_STATES.filter((state) => !['suspended', 'stopped', 'failed', 'deleted'].includes(state));
const IN_FLIGHT = 16;

export interface StopReport {
  stopped: number;
  /** Still not at rest when time was up. */
  left: number;
}

/** Stops every microVM of these hosts, and those that have none yet, through the API, so that their histories tell it. */
export async function stopMicrovms(
  client: RestClient,
  hostIds: readonly string[],
  { graceMs, deadlineMs }: { graceMs: number; deadlineMs: number },
): Promise<StopReport> {
  const end = performance.now() + deadlineMs;
  const stopped = new Set<string>();
  for (;;) {
    const queue: Microvm[] = [];
    const listDeadlineMs = Math.max(1_000, end - performance.now());
    for await (const microvm of client.pages<Microvm>(
      '/v1/microvms',
      { state: ACTIVE },
      { deadlineMs: listDeadlineMs },
    )) {
      if (microvm.hostId === null || hostIds.includes(microvm.hostId)) queue.push(microvm);
    }
    const remaining = end - performance.now();
    if (queue.length === 0 || remaining <= 0) return { stopped: stopped.size, left: queue.length };
    const worker = async (): Promise<void> => {
      for (let one = queue.shift(); one && performance.now() < end; one = queue.shift()) {
        if (await stopOne(client, one, graceMs, end - performance.now())) stopped.add(one.id);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    await pause(50);
  }
}

async function stopOne(client: RestClient, { id }: Microvm, graceMs: number, remainingMs: number): Promise<boolean> {
  const timeout = Math.max(1, Math.min(Math.round(remainingMs), graceMs + 10_000));
  try {
    const { status } = await client.answer('POST', `/v1/microvms/${id}/stop`, {
      body: { timeoutMs: graceMs },
      query: { wait: 'stopped', timeout: `${timeout}ms` },
      deadlineMs: timeout + 5_000,
    });
    return status === 200;
  } catch (error) {
    // It ended by itself, is on its way somewhere else, or the control plane is away for a moment: the next round tells.
    if (error instanceof CliError) return false;
    throw error;
  }
}
