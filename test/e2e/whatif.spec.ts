import { seededDemand } from '#chaos';
import type { WhatIfOutcome, WhatIfReport } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { describeWithKvm } from '../support/kvm';
import { applyLoad, type LoadResult } from '../support/applied-load';

jest.setTimeout(600_000);

/**
 * How far a prediction may be from what is measured then. The bar is 10 %, and `VOLLEY_WHATIF_PROOF=1` holds every run to it, with and
 * without waiting (docs/whatif.md has the runs). Counts of some 200 refusals differ by 5 % from run to run by chance alone, so one run in
 * passing is held to what chance does not reach.
 */
const PROOF = process.env['VOLLEY_WHATIF_PROOF'] === '1';
const TOLERANCE = PROOF ? 0.1 : 0.25;

/** Little enough that canaries fill it: promised memory is all that runs short. */
const RESERVED_FROM_MIB = 4_000;

describeWithKvm('what-if, against what a fleet then does', () => {
  let fleet: Fleet;

  beforeAll(async () => {
    fleet = new Fleet();
    const hostMiB = Math.floor((await import('node:os')).totalmem() / 2 ** 20);
    fleet.env = { VOLLEY_RESERVE_MIB: String(hostMiB - RESERVED_FROM_MIB), VOLLEY_USAGE_INTERVAL_SECONDS: '1' };
  });
  afterAll(() => fleet?.down());

  async function measured(memoryRatio: number, waitSeconds: number): Promise<LoadResult> {
    await fleet.up('--overcommit-memory', String(memoryRatio));
    const load = seededDemand({ seed: 42, creates: 500, perSecond: 14, meanLifeMs: 4_000, lives: 'exponential' });
    const result = await applyLoad(fleet, load, { waitSeconds });
    expect(result.other.slice(0, 3)).toEqual([]);
    return result;
  }

  const ask = async ({ from, to }: LoadResult, memoryRatio: number): Promise<WhatIfReport> => {
    const { status, body } = await fleet.rest<WhatIfReport>('POST', '/v1/whatif', {
      ...{ from, to, alternatives: [{ memoryRatio }], runs: 15 },
    });
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body;
  };

  async function emptied(): Promise<void> {
    for (const { id, state } of await fleet.list())
      if (state !== 'deleting') await fleet.rest('DELETE', `/v1/microvms/${id}`);
    await until('all are gone', async () => (await fleet.list()).length === 0, 60_000);
    await fleet.volley('down');
  }

  it.each<[string, number]>([
    ['that fail at once', 0],
    ...(PROOF ? [['that wait for a host', 1] as [string, number]] : []),
  ])('predicts the refusals at another ratio, of creates %s', async (_, waitSeconds) => {
    const tight = await measured(1, waitSeconds);
    const toWide = await ask(tight, 1.5);
    await emptied();
    const wide = await measured(1.5, waitSeconds);
    const toTight = await ask(wide, 1);
    await emptied();
    process.stderr.write(
      `what-if, creates that wait ${waitSeconds} s:\n` +
        `  at x1   refused ${tight.refused} (expired ${tight.expired}), replayed ${told(toWide.base)}, predicted from x1.5 ${told(toTight.alternatives[0]!)}\n` +
        `  at x1.5 refused ${wide.refused} (expired ${wide.expired}), replayed ${told(toTight.base)}, predicted from x1   ${told(toWide.alternatives[0]!)}\n`,
    );
    // What canaries use is on record: next to nothing, so that one who knows the future would refuse nobody.
    expect(toWide.load.measured).toBeGreaterThan(50);
    expect(toWide.oracle!.refused.max).toBe(0);
    expect(toWide.base.contention!.memoryTime.max).toBe(0);
    expect(toWide.recorded.refused).toBe(tight.refused);
    expect(toTight.recorded.refused).toBe(wide.refused);
    expect(wide.refused).toBeGreaterThan(30);
    // Some 1.4 times: what both runs have in common by chance must not make a prediction of it.
    expect(tight.refused).toBeGreaterThan(1.15 * wide.refused);
    for (const [predicted, then] of [
      [toWide.base, tight],
      [toTight.base, wide],
      [toWide.alternatives[0]!, wide],
      [toTight.alternatives[0]!, tight],
    ] as const) {
      expect(Math.abs(predicted.refused.median - then.refused) / then.refused).toBeLessThanOrEqual(TOLERANCE);
    }
  });
});

const told = ({ refused: { min, median, max }, unanswered }: WhatIfOutcome): string =>
  `${median} (${min}..${max}; unanswered ${unanswered.median})`;
