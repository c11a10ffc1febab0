import type { FleetDensity, Microvm } from '#protocol';
import { describeWithKvm } from '../support/kvm';
import { belongingsOf, type Belongings } from '../support/host-belongings';
import { Fleet, until } from '../support/fleet';

const MICROVMS = 300;
const IN_FLIGHT = 64;

describeWithKvm('hundreds of microVMs at once, through the whole path', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = new Fleet();
    fleet.env = { VOLLEY_NETWORK: 'auto' };
    await fleet.up('--no-canary', '--overcommit-memory', '10');
  }, 120_000);
  afterAll(() => fleet?.down(), 120_000);

  /** Does it for 0..MICROVMS-1, some at a time, in that order of beginning. */
  const each = async <T>(work: (index: number) => Promise<T>): Promise<T[]> => {
    const results: T[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < MICROVMS; index = next++) results[index] = await work(index);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    return results;
  };

  it('all run, each launched as soon as it is admitted, and leave nothing when they are deleted', async () => {
    let before = await belongingsOf(fleet);
    await until('taps were made ahead of need, and nothing changes any more', async () => {
      const last = JSON.stringify(before);
      before = await belongingsOf(fleet);
      return before.taps.length > 0 && JSON.stringify(before) === last;
    });
    const microvms = await each((index) => fleet.running({ name: `mass-${index}` }));
    expect(new Set(microvms.map(({ id }) => id)).size).toBe(MICROVMS);
    expect(fleet.vmms()).toHaveLength(MICROVMS);
    const { body } = await fleet.rest<FleetDensity>('GET', '/v1/density');
    expect(body.hosts[0]!.slots.used).toBeLessThanOrEqual(MICROVMS);

    // Whoever waits, waits before admission: never more are between admission and guest than may be launched at a time.
    expect(mostAtOnce(microvms)).toBeLessThanOrEqual(4 * (await cpusOf(fleet)));

    const statuses = await each(async (index) => {
      const answer = await fleet.rest('DELETE', `/v1/microvms/${microvms[index]!.id}?wait=deleted&timeout=30s`);
      return answer.status;
    });
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(fleet.vmms()).toEqual([]);
    let after: Belongings | undefined;
    await until('the host is as it was before', async () => {
      after = await belongingsOf(fleet);
      expect({ ...after, cgroups: after.cgroups.length }).toEqual({ ...before, cgroups: before.cgroups.length });
      return true;
    });
  }, 300_000);
});

/** The most microVMs that were admitted and not booted at one moment. */
function mostAtOnce(microvms: readonly Microvm[]): number {
  const changes = microvms
    .flatMap(({ timings }) => [
      { at: timings.admittedAt!, by: 1 },
      { at: timings.guestBootedAt!, by: -1 },
    ])
    .sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  return Math.max(...changes.map(({ by }) => (now += by)));
}

async function cpusOf(fleet: Fleet): Promise<number> {
  const { body } = await fleet.rest<{ items: { description: { cpus: number } }[] }>('GET', '/v1/hosts');
  return body.items[0]!.description.cpus;
}
