import type { HistoryEntry, MicrovmStateName } from '#protocol';
import { distinctInstants, entryAt, eventSummary, staysOf } from './life-story';

const entry = (ms: number, from: MicrovmStateName | null, to: MicrovmStateName): HistoryEntry => ({
  sequence: ms,
  at: new Date(ms).toISOString(),
  commandId: `c${ms}`,
  cause: { kind: 'operator', by: 'me' },
  from,
  to,
  latencyMs: null,
  events: [{ type: 'x' }],
});
const life = [
  entry(1_000, null, 'requested'),
  entry(1_010, 'requested', 'running'),
  entry(1_030, 'running', 'paused'),
  entry(1_040, 'paused', 'running'),
  entry(1_045, 'running', 'running'),
];

it('sums the stays of a life', () => {
  expect(Object.fromEntries(staysOf(life, 1_100))).toEqual({
    requested: { times: 1, totalMs: 10, current: false },
    running: { times: 2, totalMs: 20 + 5 + 55, current: true },
    paused: { times: 1, totalMs: 10, current: false },
  });
  expect(staysOf([], 5).size).toBe(0);
  const exact = [entry(1_000, null, 'placing'), { ...entry(1_003, 'placing', 'starting'), latencyMs: 2.75 }];
  expect(Object.fromEntries(staysOf(exact, 1_010))).toEqual({
    requested: { times: 1, totalMs: 0, current: false },
    placing: { times: 1, totalMs: 2.75, current: false },
    starting: { times: 1, totalMs: 7, current: true },
  });
});

it('finds what was true at an instant', () => {
  expect([999, 1_000, 1_009, 1_010, 1_039.5, 9_999].map((at) => entryAt(life, at))).toEqual([-1, 0, 0, 1, 2, 4]);
});

it('tells an event in one line', () => {
  expect(eventSummary({ type: 'placed', hostId: 'h1', epoch: 2, spec: { a: 1 } })).toBe('hostId h1, epoch 2');
  expect(eventSummary({ type: 'requested', specHash: 'x', spec: { image: 'canary', memoryMiB: 32 } })).toBe(
    'canary, 32 MiB',
  );
  expect(eventSummary({ type: 'placed', decidedAt: 1_700_000_000_123 })).toMatch(/^decidedAt \d\d:\d\d:\d\d\.123$/);
  expect(eventSummary({ type: 'exited', exit: { reason: 'panic' } })).toBe('exit panic');
  expect(eventSummary({ type: 'refused', reason: 'x'.repeat(200) })).toHaveLength('reason '.length + 80);
});

it('tells instants apart by the millisecond', () => {
  const crowded = [
    entry(1_000, null, 'requested'),
    entry(1_000, 'requested', 'placing'),
    entry(1_002, 'placing', 'starting'),
  ];
  expect(distinctInstants(crowded)).toEqual([
    { at: 1_000.999, last: 1 },
    { at: 1_002.999, last: 2 },
  ]);
});
