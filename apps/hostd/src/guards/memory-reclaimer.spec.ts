import { EventEmitter, once } from 'node:events';
import pino from 'pino';
import type { MicrovmSpec } from '#protocol';
import type { LiveIncarnation } from '../microvms/live-incarnation';
import { MemoryReclaimer } from './memory-reclaimer';

const MIB = 1024 * 1024;

interface Wanted {
  class?: MicrovmSpec['class'];
  balloon?: boolean;
  slot?: number | null;
  doing?: LiveIncarnation['doing'];
  isEnding?: boolean;
  pending?: string[];
  /** What its balloon was told before, bytes; an error: its statistics cannot be read. */
  balloonBytes?: number | Error;
  refusesBalloon?: boolean;
}

/** A reclaimer over microVMs that are as said, which notes what is done to them. */
function hostOf(microvms: Record<string, Wanted>, canSnapshot = true) {
  const did: unknown[] = [];
  const noted = new EventEmitter();
  const ends = new Map<string, () => void>();
  const lives = Object.entries(microvms).map(([microvmId, one]): LiveIncarnation => {
    const { class: of = 'bestEffort', balloon = false, slot = 1, doing = 'running', pending = [] } = one;
    const process = {
      stats: () => {
        if (one.balloonBytes instanceof Error) throw one.balloonBytes;
        return { balloon: balloon ? { targetBytes: one.balloonBytes ?? 0 } : undefined };
      },
      setBalloon: async (bytes: number, deadlineMs: number) => {
        did.push(['balloon', microvmId, bytes, deadlineMs]);
        if (one.refusesBalloon) throw new Error('it does not answer');
      },
    };
    return {
      record: {
        ...{ microvmId, epoch: 1, ...(slot === null ? {} : { slot }) },
        spec: { image: 'canary', class: of, memoryMiB: 400, vcpus: 1, balloon },
        pending: pending.map((type) => ({ type })),
      },
      ...{ process, doing, isEnding: one.isEnding ?? false },
      ended: new Promise<void>((resolve) => ends.set(microvmId, resolve)),
      end: (how: object) => did.push(['end', microvmId, how]),
    } as unknown as LiveIncarnation;
  });
  const context = {
    slots: { slot: (number: number) => ({ cgroup: `s${number}` }) },
    chronicle: { record: (entry: object) => noted.emit('recorded', entry) },
    facts: { tuned: (_: object, tuning: object, reason: string) => ({ tuning, reason }) },
    limits: { controlMs: 2_000 },
    platform: canSnapshot ? {} : undefined,
    log: Object.assign(pino({ level: 'silent' }), { warn: (...said: unknown[]) => noted.emit('warned', ...said) }),
  };
  const reclaimer = new MemoryReclaimer(
    {
      living: () => lives,
      liveOf: (id: string) => lives.find(({ record }) => record.microvmId === id),
      suspendFor: (id: string, reason: string) => did.push(['suspend', id, reason]),
    },
    { heldBytes: ({ cgroup }) => (cgroup === 's1' ? 100 * MIB : undefined) },
    context as unknown as ConstructorParameters<typeof MemoryReclaimer>[2],
  );
  return { reclaimer, did, noted, ends };
}

describe('whom memory can be taken from', () => {
  const candidatesOf = (one: Wanted, canSnapshot?: boolean) => hostOf({ a: one }, canSnapshot).reclaimer.candidates();
  const usual = {
    ...{ microvmId: 'a', class: 'bestEffort', memoryMiB: 400, residentMiB: 100 },
    ...{ canSuspend: true, balloonMiB: undefined, isLeaving: false },
  };

  it.each<[string, Wanted, object]>([
    ['one that runs', {}, {}],
    ['one with a balloon', { balloon: true, balloonBytes: 300 * MIB }, { balloonMiB: 300 }],
    ['one whose balloon cannot be asked', { balloon: true, balloonBytes: new Error('gone') }, {}],
    ['one that is paused: its guest follows no balloon', { balloon: true, doing: 'paused' }, { canSuspend: false }],
    ['one that ends', { isEnding: true }, { isLeaving: true }],
    ['one that is being suspended', { pending: ['suspend'] }, { isLeaving: true }],
    ['one whose memory nobody counts', { slot: 2 }, { residentMiB: 0 }],
  ])('%s', (_, one, is) => {
    expect(candidatesOf(one)).toEqual([{ ...usual, ...is }]);
  });

  it('never a guaranteed one, nor one without a place', () => {
    expect(candidatesOf({ class: 'guaranteed' })).toEqual([]);
    expect(candidatesOf({ slot: null })).toEqual([]);
  });

  it('is not suspended where the host cannot', () => {
    expect(candidatesOf({}, false)).toMatchObject([{ canSuspend: false }]);
  });
});

describe('memory that is taken back', () => {
  it('by balloon, then its history says how much and why', async () => {
    const { reclaimer, did, noted } = hostOf({ a: { balloon: true } });
    const recorded = once(noted, 'recorded');
    reclaimer.balloon('a', 300, 'short');
    expect(did).toEqual([['balloon', 'a', 300 * MIB, 2_000]]);
    expect(await recorded).toEqual([{ facts: [{ tuning: { kind: 'balloon', mib: 300 }, reason: 'short' }] }]);
  });

  it('by a balloon that is not followed, then its history says nothing and the log does', async () => {
    const { reclaimer, noted } = hostOf({ a: { balloon: true, refusesBalloon: true } });
    const recorded = jest.fn();
    noted.on('recorded', recorded);
    const warned = once(noted, 'warned');
    reclaimer.balloon('a', 300, 'short');
    expect((await warned)[0]).toMatchObject({ microvmId: 'a' });
    expect(recorded).not.toHaveBeenCalled();
  });

  it('by suspension, then it is not told again as long as that incarnation lives', async () => {
    const { reclaimer, did, ends } = hostOf({ a: {} });
    reclaimer.suspend('a', 'short');
    expect(did).toEqual([['suspend', 'a', 'short']]);
    expect(reclaimer.candidates()).toMatchObject([{ canSuspend: false }]);
    ends.get('a')!();
    await Promise.resolve();
    await Promise.resolve();
    expect(reclaimer.candidates()).toMatchObject([{ canSuspend: true }]);
  });

  it('by eviction, with the reason', () => {
    const { reclaimer, did } = hostOf({ a: {} });
    reclaimer.evict('a', 'short');
    expect(did).toEqual([['end', 'a', { reason: 'evicted', message: 'evicted by its host: short' }]]);
  });

  it('never from a guaranteed microVM, nor from one that is gone, whoever asks', () => {
    const { reclaimer, did } = hostOf({ a: { class: 'guaranteed', balloon: true } });
    for (const id of ['a', 'b']) {
      reclaimer.balloon(id, 300, 'short');
      reclaimer.suspend(id, 'short');
      reclaimer.evict(id, 'short');
    }
    expect(did).toEqual([]);
  });
});
