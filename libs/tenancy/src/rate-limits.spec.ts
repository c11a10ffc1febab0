import { RateLimits } from './rate-limits';

describe('RateLimits', () => {
  it('keeps names apart, and takes a new rate at once', () => {
    const limits = new RateLimits();
    expect(limits.take('a', 1, 0)).toBe(0);
    expect(limits.take('a', 1, 0)).toBe(1_000);
    expect(limits.take('b', 1, 0)).toBe(0);
    expect(limits.take('a', 5, 0)).toBe(0);
    expect(limits.take('a', undefined, 0)).toBe(0);
  });
});
