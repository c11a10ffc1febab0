import { instant } from './instant';

describe('instant', () => {
  it('takes a time without a zone as one of this machine, and leaves the others as they are', () => {
    expect(instant('2026-01-31T03:12:00')).toBe(new Date(2026, 0, 31, 3, 12).toISOString());
    for (const text of ['2026-01-31T03:12:00Z', '2026-01-31T03:12:00+01:00', '1767150720000', 'yesterday']) {
      expect(instant(text)).toBe(text);
    }
  });
});
