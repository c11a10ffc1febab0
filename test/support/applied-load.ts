import type { Arrival } from '#chaos';
import type { Microvm, MicrovmSpecInput } from '#protocol';
import type { Fleet } from './fleet';

export interface LoadResult {
  /** ms since 1970: when the first one was asked for, and when all had been answered. */
  from: number;
  to: number;
  running: number;
  /** No host could take them. */
  refused: number;
  /** Their time to live was over before any host could. */
  expired: number;
  /** Anything else, as it was answered. */
  other: string[];
}

/** Creates what a load says when it says so, whatever became of those before, and ends them when they have lived. */
export async function applyLoad(
  fleet: Fleet,
  load: readonly Arrival[],
  spec: Partial<MicrovmSpecInput>,
): Promise<LoadResult> {
  const result: LoadResult = { from: Date.now(), to: 0, running: 0, refused: 0, expired: 0, other: [] };
  const endings: Promise<unknown>[] = [];
  const begin = performance.now();
  const sleepUntil = (ms: number): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, begin + ms - performance.now()));

  const one = async ({ tenant, memoryMiB, ttlSeconds, deleteAfterMs }: Arrival): Promise<void> => {
    const { status, body } = await fleet.rest<Microvm & { microvm?: Microvm }>(
      'POST',
      '/v1/microvms?wait=running&timeout=25s',
      { image: 'canary', tenant, memoryMiB, ...(ttlSeconds === undefined ? {} : { ttlSeconds }), ...spec },
    );
    const microvm = body.microvm ?? body;
    if (status === 201) result.running++;
    else if (microvm.state === 'failed' && /none of \d+ hosts? passes/.test(microvm.reason ?? '')) result.refused++;
    else if (microvm.state === 'deleted' && /time to live is over/.test(microvm.reason ?? '')) result.expired++;
    else return void result.other.push(`${status} ${JSON.stringify(body).slice(0, 300)}`);
    if (status !== 201 || deleteAfterMs === undefined) return;
    endings.push(
      sleepUntil(performance.now() - begin + deleteAfterMs).then(() =>
        fleet.rest('DELETE', `/v1/microvms/${microvm.id}`),
      ),
    );
  };
  const asked: Promise<void>[] = [];
  for (const arrival of load) {
    await sleepUntil(arrival.atMs);
    asked.push(one(arrival));
  }
  await Promise.all(asked);
  result.to = Date.now();
  await Promise.all(endings);
  return result;
}
