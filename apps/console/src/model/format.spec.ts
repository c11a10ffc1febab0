import { age, duration, instant, mebibytes, parseInstant, percent, plural, ratio } from './format';

describe('format', () => {
  it.each([
    [0, '0 MiB'],
    [0.53, '0.5 MiB'],
    [128, '128 MiB'],
    [1536, '1.5 GiB'],
    [65_536, '64 GiB'],
    [2 * 1024 * 1024, '2 TiB'],
  ])('writes %d MiB as %s', (value, text) => expect(mebibytes(value)).toBe(text));

  it.each([
    [0.4161, '0.42 ms'],
    [9.996, '10.0 ms'],
    [12.34, '12.3 ms'],
    [99.97, '100 ms'],
    [840.4, '840 ms'],
    [999.9, '1.00 s'],
    [1250, '1.25 s'],
    [59_999, '59 s'],
    [185_000, '3 min 5 s'],
    [-3.2, '−3.20 ms'],
    [null, '–'],
  ])('writes %p ms as %s', (value, text) => expect(duration(value)).toBe(text));

  it.each([
    [0, '0 s'],
    [-50, '0 s'],
    [3_600_000, '1 h'],
    [7_805_000, '2 h 10 min'],
    [97 * 3_600_000, '4 d 1 h'],
  ])('writes an age of %d ms as %s', (value, text) => expect(age(value)).toBe(text));

  it('writes ratios, percentages and counts', () => {
    expect([ratio(1.5), ratio(12.34), percent(0), percent(2.34), percent(45.6), percent(null)]).toEqual([
      '1.50×',
      '12.3×',
      '0 %',
      '2.3 %',
      '46 %',
      '–',
    ]);
    expect([plural(1, 'host'), plural(3000, 'host')]).toEqual(['1 host', '3,000 hosts']);
  });

  it('reads back the times it writes, to the millisecond', () => {
    for (const ms of [0, 1_700_000_000_123, 1_772_633_002_007]) expect(parseInstant(instant(ms))).toBe(ms);
  });

  it('reads other times a person may paste, and refuses the rest', () => {
    expect(parseInstant('2026-03-04T14:03:22.123Z')).toBe(Date.UTC(2026, 2, 4, 14, 3, 22, 123));
    expect(parseInstant('2026-03-04T15:03:22.5+01:00')).toBe(Date.UTC(2026, 2, 4, 14, 3, 22, 500));
    expect(parseInstant(' 1772633002007 ')).toBe(1_772_633_002_007);
    expect(parseInstant('2026-03-04 14:03')).toBe(new Date(2026, 2, 4, 14, 3).getTime());
    for (const text of ['', 'yesterday', '12', '2026-13-40 99:99', '2026-03-04']) expect(parseInstant(text)).toBeNull();
  });
});
