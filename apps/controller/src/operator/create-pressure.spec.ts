import { foldMicrovmRecord, type MicrovmLife } from '#lifecycle';
import { MicrovmSpec, type MicrovmEvent, type MicrovmRecord } from '#protocol';
import type { MicrovmHistories } from '../histories/microvm-histories';
import { CreatePressure } from './create-pressure';

type Follow = (life: MicrovmLife) => void;

/** The pressure with histories that a test writes. */
function pressure() {
  let follow!: Follow;
  const histories = { listen: ({ changed }: { changed: Follow }) => void (follow = changed) };
  const lives = new Map<string, MicrovmLife>();
  const happen = (id: string, from: string | null, to: string, ...events: MicrovmEvent[]) => {
    const life = lives.get(id) ?? null;
    const record = {
      machine: 1,
      microvmId: id,
      commandId: `${id}.${to}`,
      cause: { kind: 'operator', by: 't' },
      at: 1,
      from,
      to,
      events,
    };
    const next = foldMicrovmRecord(life, record as MicrovmRecord, (life?.revision ?? 0) + 1);
    lives.set(id, next);
    follow(next);
  };
  const born = (id: string, tenant = 'default') =>
    happen(
      id,
      null,
      'placing',
      { type: 'requested', spec: MicrovmSpec.parse({ image: 'canary', tenant }), requestedAt: 0, specHash: '' },
      { type: 'placementStarted' },
    );
  const waits = (id: string) => happen(id, 'placing', 'placing', { type: 'placementWaits', reason: 'no room' });
  const gone = (id: string) => happen(id, 'placing', 'deleted', { type: 'deleteRequested' });
  const subject = new CreatePressure(histories as unknown as MicrovmHistories);
  const asks = async (tenant = 'default') => {
    try {
      await subject.pass(tenant, () => Promise.resolve());
      return 'passes';
    } catch (error) {
      return (error as { code: string; retryAfterMs: number }).retryAfterMs > 0
        ? (error as { code: string }).code
        : 'no time';
    }
  };
  return { subject, born, waits, gone, asks };
}

const many = (count: number, each: (id: string) => void, prefix = 'm'): void => {
  for (let i = 0; i < count; i++) each(`${prefix}${i}`);
};

describe('create pressure', () => {
  it('turns creates away while too much is on its way, and says when to come back', async () => {
    const { born, gone, asks } = pressure();
    many(511, born);
    expect(await asks()).toBe('passes');
    born('last');
    expect(await asks()).toBe('overloaded');
    gone('last');
    expect(await asks()).toBe('passes');
  });

  it('turns away whoever has most before whoever has little', async () => {
    const { born, asks } = pressure();
    many(520, (id) => born(id, 'flood'));
    expect(await asks('flood')).toBe('overloaded');
    expect(await asks('modest')).toBe('passes');
    many(260, (id) => born(id, 'flood'), 'more');
    expect(await asks('modest')).toBe('overloaded'); // now it is too much for anybody
  });

  it('does not count what waits for room, up to a bound of its own', async () => {
    const { born, waits, asks } = pressure();
    many(600, (id) => (born(id), waits(id)));
    expect(await asks()).toBe('passes');
  });

  it('bounds what is being recorded at a time, and counts it once', async () => {
    const { subject, asks } = pressure();
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const recording = Array.from({ length: 256 }, () => subject.pass('default', () => finished));
    expect(await asks()).toBe('overloaded');
    finish();
    await Promise.all(recording);
    expect(await asks()).toBe('passes');
    await expect(subject.pass('default', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await asks()).toBe('passes');
  });
});
