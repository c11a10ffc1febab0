import * as fc from 'fast-check';
import { json, scriptedApi } from '../testing/scripted-api';
import { inFlight } from './in-flight';
import { distribution } from './percentiles';
import { BENCH_LABEL, benchStart, type StartParameters } from './start.bench';

const PARAMETERS: StartParameters = {
  count: 10,
  concurrency: 3,
  image: 'canary',
  memoryMiB: 16,
  cmdline: '',
  devices: 'image',
  startTimeoutMs: 1_000,
};

describe('percentiles', () => {
  it('are values that were measured', () => {
    expect(distribution([5, 1, 4, 2, 3])).toEqual({ count: 5, p50: 3, p90: 5, p99: 5, max: 5, mean: 3 });
    expect(distribution([])).toBeUndefined();
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1 }), (values) => {
        const { p50, p99, max } = distribution(values)!;
        expect(values.filter((value) => value <= p50).length * 2).toBeGreaterThanOrEqual(values.length);
        expect(values).toEqual(expect.arrayContaining([p50, p99, max]));
      }),
    );
  });
});

it('never has more in flight than asked, and does each once', async () => {
  let now = 0;
  let most = 0;
  const done: number[] = [];
  await inFlight(20, 4, new AbortController().signal, async (index) => {
    most = Math.max(most, ++now);
    await new Promise(setImmediate);
    now--;
    done.push(index);
  });
  expect(most).toBe(4);
  expect(done.sort((a, b) => a - b)).toEqual([...Array(20).keys()]);
});

/** A fleet of one label, in which every third start fails. */
function scriptedFleet({ deletable = true } = {}) {
  const alive = new Map<string, unknown>();
  let made = 0;
  const api = scriptedApi(({ method, path, query, body }, response) => {
    if (path === '/v1/density') {
      return json(response, 200, {
        hosts: [{ microvms: alive.size, used: { privateMiB: alive.size * 0.5, overheadMiB: alive.size * 0.25 } }],
      });
    }
    if (method === 'POST') {
      const id = `id-${made++}`;
      const failed = made % 3 === 0;
      const timings = failed
        ? { requestedAt: 1, acceptedAt: 2 }
        : { requestedAt: 1, acceptedAt: 2, placedAt: 5, admittedAt: 10, guestBootedAt: 12, runningAt: 20 };
      alive.set(id, { id, state: failed ? 'failed' : 'running', labels: (body as { labels: object }).labels, timings });
      return failed ? json(response, 409, { detail: 'no room' }) : json(response, 201, alive.get(id));
    }
    if (method === 'DELETE') {
      if (deletable) alive.delete(path.split('/')[3]!);
      return json(response, 200, {});
    }
    expect(query.get('label')).toMatch(new RegExp(`^${BENCH_LABEL}=`));
    return json(response, 200, { items: [...alive.values()], nextCursor: null });
  });
  return { api, alive };
}

describe('bench start', () => {
  it('measures every step, counts failures, and leaves nothing behind', async () => {
    const { api: pending, alive } = scriptedFleet();
    const api = await pending;
    const result = await benchStart(api.client, PARAMETERS, 'run', new AbortController().signal, () => {});
    await api.close();
    expect(result).toMatchObject({ running: 7, failed: 3, failures: { 'no room': 3 }, left: 0 });
    expect(result.phases['queued']).toMatchObject({ count: 7, p50: 1 });
    expect(result.phases['admissionToGuest']).toMatchObject({ p99: 2 });
    expect(result.phases['wholePath']).toMatchObject({ max: 19 });
    expect(result.phases['received']).toBeNull();
    expect(result.phases['client']!.count).toBe(7);
    expect(result.memory).toEqual({ microvms: 10, vmmOverheadKiB: 256, vmmPrivateKiB: 512 });
    expect(alive.size).toBe(0);
  });

  it('stops starting when it is interrupted, and deletes what it has started', async () => {
    const { api: pending, alive } = scriptedFleet();
    const api = await pending;
    const abort = new AbortController();
    let posts = 0;
    const watched = Object.assign(Object.create(api.client) as typeof api.client, {
      answer: async (method: string, path: string, options: object) => {
        if (method === 'POST' && ++posts === 4) abort.abort();
        return api.client.answer(method, path, options);
      },
    });
    const result = await benchStart(watched, { ...PARAMETERS, count: 1_000 }, 'run', abort.signal, () => {});
    await api.close();
    expect(posts).toBeLessThan(10);
    expect(result.left).toBe(0);
    expect(alive.size).toBe(0);
  });
});
