import { foldMicrovmRecord, microvmState, viewMicrovm, type MicrovmLife } from '#lifecycle';
import type { Microvm, MicrovmRecord } from '#protocol';
import { grownHistories } from '../testing/grown-histories';
import { MicrovmsAt, type MicrovmsPicture } from './microvms-at';

const T0 = 1_700_000_000_000;
const STEP = 100;

/** The obvious way: each history by itself, folded up to the first record that happened later. */
function naive(records: readonly MicrovmRecord[], at: number): Microvm[] {
  const lives = new Map<string, MicrovmLife>();
  const over = new Set<string>();
  records.forEach((record, i) => {
    const id = record.microvmId;
    if (record.at > at) over.add(id);
    if (!over.has(id)) lives.set(id, foldMicrovmRecord(lives.get(id) ?? null, record, i + 1));
  });
  return [...lives.values()].map(viewMicrovm).sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function fold(
  records: readonly MicrovmRecord[],
  at: number,
  options: ConstructorParameters<typeof MicrovmsAt>[1] = {},
): Promise<MicrovmsPicture> {
  const fold = new MicrovmsAt(at, options);
  const from = options.base?.resumeFrom ?? 1;
  records.forEach((record, i) => {
    if (i + 1 >= from) fold.take({ record, sequence: i + 1 });
  });
  return fold.finish(records.length);
}

const living = ({ lives }: MicrovmsPicture): Microvm[] =>
  [...lives.values()].map(viewMicrovm).sort((a, b) => (a.id < b.id ? -1 : 1));

describe('MicrovmsAt', () => {
  const histories = [1, 2].map((seed) => ({
    seed,
    records: grownHistories({ seed, microvms: 20, records: 600, startMs: T0, stepMs: STEP, skewMs: 10 * STEP }),
  }));
  const instants = (records: readonly MicrovmRecord[]): number[] => [
    T0 - 10_000,
    ...Array.from({ length: 5 }, (_, i) => records[i * 110]!.at),
    T0 + 10_000_000,
  ];

  it.each(histories)('gives what folding each history alone gives (seed $seed)', async ({ records }) => {
    for (const at of instants(records)) {
      const expected = naive(records, at);
      const picture = await fold(records, at, { keepEnded: 100_000 });
      expect(living(picture)).toEqual(expected.filter(({ state }) => state !== 'deleted'));
      const ended = picture.ended.map(viewMicrovm).sort((a, b) => (a.id < b.id ? -1 : 1));
      expect(ended).toEqual(expected.filter(({ state }) => state === 'deleted'));
      expect(picture.skipped).toBe(0);
    }
  });

  it.each(histories)('gives the same when it goes on from any earlier picture (seed $seed)', async ({ records }) => {
    const times = instants(records);
    for (const earlier of times) {
      const base = await fold(records, earlier);
      for (const at of times.filter((time) => time >= earlier)) {
        const on = await fold(records, at, { base });
        const anew = await fold(records, at);
        expect(living(on)).toEqual(living(anew));
        expect([on.counted, on.resumeFrom]).toEqual([anew.counted, anew.resumeFrom]);
      }
      expect(living(base)).toEqual(living(await fold(records, earlier))); // and the base is as it was
    }
  });

  it('tells who came and went since the base', async () => {
    const { records } = histories[0]!;
    const [from, to] = [records[100]!.at, records[500]!.at];
    const base = await fold(records, from);
    const cameAndWent: string[] = [];
    await fold(records, to, { base, onCameAndWent: (id) => cameAndWent.push(id) });
    const then = new Set(naive(records, from).map(({ id }) => id));
    const expected = naive(records, to).filter(({ id, state }) => state === 'deleted' && !then.has(id));
    expect(expected.length).toBeGreaterThan(5);
    expect(cameAndWent.sort()).toEqual(expected.map(({ id }) => id));
  });

  it('leaves out what no fold takes, and goes on', async () => {
    const { records } = histories[1]!;
    const victim = records.findIndex(({ to, from }) => to === 'running' && from === 'starting');
    const forged = records.map((record, i) => (i === victim ? { ...record, to: 'stopped' as const } : record));
    const at = records[victim + 1]!.at;
    const picture = await fold(forged, at);
    const id = records[victim]!.microvmId;
    expect(picture.skipped).toBeGreaterThan(0);
    expect(microvmState(picture.lives.get(id)!)).toBe('starting');
    expect(living(picture).filter((one) => one.id !== id)).toEqual(
      living(await fold(records, at)).filter((one) => one.id !== id),
    );
  });
});
