import { decideEvents, type MicrovmLife } from '#lifecycle';
import { MicrovmSpec, type MicrovmEvent, type MicrovmSpecInput } from '#protocol';
import { takeCensus, turnOf } from './drain-census';
import { planOf, usualStartMs } from './drain-plan';

const HOST = 'host-a';
const SINCE = 1_000;
let ids = 0;

/** A life by its events, one ms apart from `at` on. */
function live(events: MicrovmEvent[], spec: Partial<MicrovmSpecInput> = {}, at = 10): MicrovmLife {
  const id = `01hzzzzzzzzzzzzzzzzzzzz${String(++ids).padStart(3, '0')}`;
  const birth: MicrovmEvent = {
    type: 'requested',
    spec: MicrovmSpec.parse({ image: 'canary', onHostLoss: 'reschedule', ...spec }),
    requestedAt: at,
    specHash: 'x',
  };
  let life: MicrovmLife | null = null;
  [birth, { type: 'placementStarted' } as const, ...events].forEach((event, i) => {
    const occasion = {
      microvmId: id,
      commandId: `c${i}`,
      cause: { kind: 'controller', by: 'test' },
      at: at + i,
    } as const;
    const decision = decideEvents(life, [event], occasion);
    if (decision.kind !== 'record') throw new Error(`${event.type} is ${decision.kind}`);
    life = { ...decision.advance.life, id, revision: i + 1 };
  });
  return life!;
}

const placed = (hostId = HOST, epoch = 1): MicrovmEvent => ({
  type: 'placed',
  hostId,
  epoch,
  receiptId: `r${epoch}`,
  decidedAt: 0,
});
const started = (hostId = HOST, epoch = 1): MicrovmEvent => ({
  type: 'started',
  hostId,
  epoch,
  pid: 1,
  timings: { receivedAt: 0, admittedAt: 0, launchedAt: 0, vmmEnteredAt: 0, guestRunAt: 0, guestBootedAt: 0 },
});
const exited = (hostId = HOST, epoch = 1): MicrovmEvent => ({
  type: 'exited',
  hostId,
  epoch,
  exit: { reason: 'requested', message: 'ended', at: 0 },
});
const move: MicrovmEvent = { type: 'moveRequested', to: 'host-b', receiptId: 'r2', graceMs: 1_000 };
const stop: MicrovmEvent = { type: 'stopRequested', timeoutMs: 0 };
const LATER = SINCE + 100;

const running = (spec?: Partial<MicrovmSpecInput>) => live([placed(), started()], spec);
const CASES: [string, MicrovmLife, string | undefined][] = [
  ['runs here', running(), 'waiting'],
  ['starts here', live([placed()]), 'waiting'],
  ['is being ended to move', live([placed(), started(), move], {}, LATER), 'moving'],
  ['is being stopped', live([placed(), started(), stop]), 'moving'],
  ['waits for a place elsewhere', live([placed(), started(), move, exited()], {}, LATER), 'moving'],
  ['starts elsewhere', live([placed(), started(), move, exited(), placed('host-b', 2)], {}, LATER), 'moving'],
  [
    'runs elsewhere',
    live([placed(), started(), move, exited(), placed('host-b', 2), started('host-b', 2)], {}, LATER),
    'moved',
  ],
  [
    'has run elsewhere',
    live(
      [placed(), started(), move, exited(), placed('host-b', 2), started('host-b', 2), exited('host-b', 2)],
      {},
      LATER,
    ),
    'moved',
  ],
  [
    'found no place',
    live([placed(), started(), move, exited(), { type: 'placementFailed', reason: 'none', final: true }], {}, LATER),
    'failed',
  ],
  ['was stopped while it was to be moved', live([placed(), started(), move, stop, exited()], {}, LATER), 'stopped'],
  ['ended here since', live([placed(), started(), exited()], {}, LATER), 'stopped'],
  ['ended here before', live([placed(), started(), exited()]), undefined],
  ['was moved by a drain before', live([placed(), started(), move, exited(), placed('host-b', 2)]), undefined],
  ['runs on another host', live([placed('host-b'), started('host-b')]), undefined],
  ['has no host yet', live([]), undefined],
];

describe('the census of a drain', () => {
  it.each(CASES)('counts what %s', (_, life, category) => {
    const { progress } = takeCensus(HOST, SINCE, [life]);
    const none = { total: 0, moved: 0, moving: 0, waiting: 0, stopped: 0, failed: 0 };
    expect(progress).toEqual(category === undefined ? none : { ...none, total: 1, [category]: 1 });
  });

  it('counts every microVM once, and finds those that are alive here, oldest first', () => {
    const lives = CASES.map(([, life]) => life);
    const { alive, progress } = takeCensus(HOST, SINCE, lives.toReversed());
    const { total, ...counts } = progress;
    expect(total).toBe(Object.values(counts).reduce((sum, count) => sum + count));
    expect(alive).toEqual(lives.slice(0, 4));
  });
});

describe('the turn of a microVM', () => {
  it.each<[string, Partial<MicrovmSpecInput>, 'wait' | 'stop', MicrovmEvent[], string]>([
    ['may move', {}, 'wait', [started()], 'move'],
    ['may move, whatever becomes of the others', {}, 'stop', [started()], 'move'],
    ['is not up yet', {}, 'wait', [], 'settle'],
    ['is being moved', {}, 'wait', [started(), move], 'settle'],
    ['stays', { onHostLoss: 'keep' }, 'wait', [started()], 'wait'],
    ['stays and is to be stopped', { onHostLoss: 'keep' }, 'stop', [started()], 'stop'],
    ['stays and is being stopped', { onHostLoss: 'keep' }, 'stop', [started(), stop], 'settle'],
  ])('that %s', (_, spec, kept, events, turn) => {
    expect(turnOf(live([placed(), ...events], spec), { kept })).toBe(turn);
  });
});

describe('a plan', () => {
  const order = { parallel: 2, graceMs: 5_000, kept: 'stop' } as const;

  it('estimates by rounds of so many at a time, and by recent starts', () => {
    const movable = [running(), running(), running()];
    const alive = [...movable, running({ onHostLoss: 'keep' })];
    const places = new Map(movable.map(({ id }) => [id, { hostId: 'host-b' }]));
    const { counts, estimate } = planOf({ hostId: HOST, order, at: 0, alive, places, startMs: 300 });
    expect(counts).toMatchObject({ moves: 3, stops: 1 });
    // Two rounds of moves; two rounds of ends in all.
    expect(estimate).toEqual({ leastMs: 600, mostMs: 600 + 2 * 5_000 });
  });

  it('takes the middle of the starts there were, or a usual one', () => {
    expect(usualStartMs([])).toBe(1_000);
    expect(usualStartMs([running(), running(), live([])])).toBe(3);
  });

  it('says why it waits for what finds no place', () => {
    const one = running();
    const places = new Map([[one.id, { hostId: null, reason: 'none of 3 hosts passes' }]]);
    const { steps } = planOf({ hostId: HOST, order, at: 0, alive: [one], places, startMs: 1 });
    expect(steps).toMatchObject([{ fate: 'waitsForRoom', to: null, reason: 'none of 3 hosts passes', loses: [] }]);
  });
});
