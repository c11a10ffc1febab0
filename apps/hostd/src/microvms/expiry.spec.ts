import { expiryAt, msUntil } from './expiry';

const T0 = 1_700_000_000_000;
const MINUTE = 60_000;

describe('the time to live on a host', () => {
  const set = { wallMs: T0, monotonicMs: 5_000, bootId: 'a' };
  const expiry = expiryAt(T0 + MINUTE, set);

  it.each([
    ['no time has passed', set, MINUTE],
    ['time passes', { wallMs: T0 + 20_000, monotonicMs: 25_000, bootId: 'a' }, 40_000],
    ['the wall clock jumps ahead', { wallMs: T0 + 86_400_000, monotonicMs: 5_000, bootId: 'a' }, MINUTE],
    ['the wall clock jumps back', { wallMs: T0 - 86_400_000, monotonicMs: 66_000, bootId: 'a' }, -1_000],
    ['the machine was booted again', { wallMs: T0 + 45_000, monotonicMs: 10, bootId: 'b' }, 15_000],
  ])('when %s', (_, now, left) => {
    expect(msUntil(expiry, now)).toBe(left);
  });
});
