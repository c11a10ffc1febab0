import { z } from 'zod';

const MS = { ms: 1, s: 1_000, m: 60_000 } as const;

/** A duration such as `500ms`, `20s` or `2m`, at most `most` ms; gives ms. */
export function duration(most: number) {
  return z
    .string()
    .regex(/^\d{1,9}(ms|s|m)$/, "must be a duration such as '500ms', '20s' or '2m'")
    .transform((text) => {
      const [, digits, unit] = /^(\d+)(\w+)$/.exec(text)!;
      return Number(digits) * MS[unit as keyof typeof MS];
    })
    .refine((ms) => ms <= most, `must be at most ${most / 1000}s`);
}

/** An instant: ISO 8601 with a time zone, or ms since 1970; gives ms since 1970. */
export const InstantText = z.union(
  [
    z
      .string()
      .regex(/^\d{1,15}(\.\d{1,6})?$/)
      .transform(Number),
    z.iso.datetime({ offset: true }).transform((text) => Date.parse(text)),
  ],
  { error: "must be ISO 8601 with a time zone, such as 2026-01-31T03:12:00Z ('+' is written %2B), or ms since 1970" },
);

/** A whole number in a query. */
export function count(least: number, most: number) {
  const message = `must be a whole number from ${least} to ${most}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, message)
    .transform(Number)
    .refine((value) => value >= least && value <= most, message);
}

/** A parameter that may be given several times. */
export function repeated<S extends z.ZodType<unknown, string>>(schema: S) {
  return z
    .union([z.string(), z.array(z.string()).max(32)])
    .transform((value) => (typeof value === 'string' ? [value] : value))
    .pipe(z.array(schema));
}
