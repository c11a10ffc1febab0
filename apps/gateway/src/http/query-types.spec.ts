import { InstantText, count, duration, repeated } from './query-types';
import { z } from 'zod';

describe('query types', () => {
  it.each([
    ['500ms', 500],
    ['20s', 20_000],
    ['2m', 120_000],
    ['0s', 0],
  ])('reads the duration %s', (text, ms) => expect(duration(120_000).parse(text)).toBe(ms));

  it.each(['', '20', '-1s', '1h', '1.5s', '3m', 's', '20 s'])('refuses the duration %j', (text) =>
    expect(duration(120_000).safeParse(text).success).toBe(false),
  );

  it.each([
    ['1700000000000', 1_700_000_000_000],
    ['1700000000000.25', 1_700_000_000_000.25],
    ['2023-11-14T22:13:20Z', 1_700_000_000_000],
    ['2023-11-14T23:13:20.500+01:00', 1_700_000_000_500],
  ])('reads the instant %s', (text, ms) => expect(InstantText.parse(text)).toBe(ms));

  it.each(['', 'yesterday', '2023-11-14', '2023-11-14T22:13:20', '2023-13-14T22:13:20Z', '1e3', '-5'])(
    'refuses the instant %j',
    (text) => expect(InstantText.safeParse(text).error?.issues[0]?.message).toMatch(/ISO 8601/),
  );

  it.each(['0', '1001', '-1', '1.5', 'ten', ''])('refuses the count %j', (text) =>
    expect(count(1, 1000).safeParse(text).success).toBe(false),
  );

  it('makes one value a list', () => {
    expect(repeated(z.enum(['a', 'b'])).parse('a')).toEqual(['a']);
    expect(repeated(z.enum(['a', 'b'])).parse(['a', 'b'])).toEqual(['a', 'b']);
    expect(repeated(z.enum(['a', 'b'])).safeParse(['a', 'c']).success).toBe(false);
  });
});
