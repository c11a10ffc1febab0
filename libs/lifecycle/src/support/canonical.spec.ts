import fc from 'fast-check';
import { live, liveUntilRunning, EVENTS } from '../microvm/microvm.fixtures';
import { canonicalJson, canonicalLife } from './canonical';
import { Timers } from './timers';

describe('canonicalJson', () => {
  it('is one text for equal values, whatever the order of their keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('leaves out what JSON would leave out', () => {
    expect(canonicalJson({ b: undefined, a: [1, undefined] })).toBe('{"a":[1,null]}');
  });
});

describe('canonicalLife', () => {
  const running = liveUntilRunning();

  it('is equal for equal histories and differs in everything that a process acts on', () => {
    expect(canonicalLife(liveUntilRunning())).toBe(canonicalLife(running));
    const others = [
      { ...running, revision: 5 },
      { ...running, timers: Timers.NONE },
      { ...running, enteredAt: 1 },
      liveUntilRunning({ name: 'other' }),
      live([EVENTS.exited('panic')], running),
    ];
    const texts = new Set([running, ...others].map(canonicalLife));
    expect(texts.size).toBe(6);
  });
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, field]) => [key, reversed(field)]),
  );
}
