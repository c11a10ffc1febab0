import fc from 'fast-check';
import { CronExpression, nextOccurrence, parseCron } from './cron';

const next = (text: string, after: string): string | undefined => {
  const at = nextOccurrence(parseCron(text), Date.parse(after));
  return at === undefined ? undefined : new Date(at).toISOString().replace(':00.000Z', 'Z');
};

describe('the next occurrence', () => {
  it.each([
    ['* * * * *', '2026-11-26T15:00:00Z', '2026-11-26T15:01Z'],
    ['* * * * *', '2026-11-26T14:59:59.999Z', '2026-11-26T15:00Z'],
    ['0 8 * * 1-5', '2026-11-27T08:00:00Z', '2026-11-30T08:00Z'],
    ['0 8 * * mon-fri', '2026-11-27T07:59:00Z', '2026-11-27T08:00Z'],
    ['*/20 22-23 * * *', '2026-11-26T22:40:00Z', '2026-11-26T23:00Z'],
    ['5/30 * * * *', '2026-11-26T22:06:00Z', '2026-11-26T22:35Z'],
    ['30 6 1 jan *', '2026-11-26T00:00:00Z', '2027-01-01T06:30Z'],
    ['0 0 29 2 *', '2096-03-01T00:00:00Z', '2104-02-29T00:00Z'],
    ['0 0 * * 7', '2026-11-26T00:00:00Z', '2026-11-29T00:00Z'],
    // Both day fields restricted: either of them.
    ['0 12 13 * fri', '2026-11-10T13:00:00Z', '2026-11-13T12:00Z'],
    ['0 12 13 * fri', '2026-11-13T12:00:00Z', '2026-11-20T12:00Z'],
    // One of them with a star: both.
    ['0 12 */2 * fri', '2026-11-13T12:00:00Z', '2026-11-27T12:00Z'],
  ])('of %s after %s is %s', (text, after, expected) => {
    expect(next(text, after)).toBe(expected);
  });

  it('is later, within the fields, and the first such minute', () => {
    const field = (least: number, most: number) =>
      fc.uniqueArray(fc.integer({ min: least, max: most }), { minLength: 1, maxLength: 4 });
    const after = fc.integer({ min: 0, max: 4_000_000_000_000 });
    fc.assert(
      fc.property(field(0, 59), field(0, 23), field(0, 6), after, (minutes, hours, weekdays, from) => {
        const at = nextOccurrence(parseCron(`${minutes.join()} ${hours.join()} * * ${weekdays.join()}`), from)!;
        const fits = (ms: number): boolean => {
          const date = new Date(ms);
          return (
            minutes.includes(date.getUTCMinutes()) &&
            hours.includes(date.getUTCHours()) &&
            weekdays.includes(date.getUTCDay())
          );
        };
        expect(at).toBeGreaterThan(from);
        let first = (Math.floor(from / 60_000) + 1) * 60_000;
        while (!fits(first)) first += 60_000;
        expect(at).toBe(first);
      }),
      { numRuns: 20 },
    );
  });
});

describe('what is no schedule', () => {
  it.each([
    ['* * * *', 'must have five fields'],
    ['60 * * * *', "minute: '60' is no value"],
    ['* 24 * * *', "hour: '24'"],
    ['* * 0 * *', "day of month: '0'"],
    ['* * * foo *', "month: 'foo'"],
    ['* * * * 8', "day of week: '8'"],
    ['5-1 * * * *', "minute: '5-1'"],
    ['*/0 * * * *', "minute: '*/0'"],
    ['1,,2 * * * *', "minute: ''"],
    ['1-2-3 * * * *', "minute: '1-2-3'"],
    ['-1 * * * *', "minute: ''"],
    ['0 0 30 2 *', 'names a day that never comes'],
    ['@daily', 'must have five fields'],
  ])('%s is refused', (text, message) => {
    const { error } = CronExpression.safeParse(text);
    expect(error?.issues[0]?.message).toContain(message);
  });
});
