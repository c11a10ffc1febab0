import { z } from 'zod';

/** Thrown by {@link parseCron}: the text is no schedule; the message says what is wrong with which field. */
export class CronError extends Error {
  override readonly name = 'CronError';
}

interface Field {
  name: string;
  least: number;
  most: number;
  /** Names of the values from `least` on. */
  words?: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const FIELDS: readonly Field[] = [
  { name: 'minute', least: 0, most: 59 },
  { name: 'hour', least: 0, most: 23 },
  { name: 'day of month', least: 1, most: 31 },
  { name: 'month', least: 1, most: 12, words: MONTHS },
  { name: 'day of week', least: 0, most: 7, words: WEEKDAYS },
];

/** A parsed schedule: the values that each field allows, in order. */
export interface Cron {
  minutes: readonly number[];
  hours: readonly number[];
  days: ReadonlySet<number>;
  months: ReadonlySet<number>;
  weekdays: ReadonlySet<number>;
  /** Both day fields are restricted: then, as cron has always done it, a day that matches either of them counts. */
  eitherDay: boolean;
}

const DAY_MS = 86_400_000;
/** Between two 29ths of February lie at most eight years; what does not come in that time never comes. */
const SEARCH_DAYS = 8 * 366;

/** Reads the five fields of cron: minute, hour, day of month, month, day of week. Throws {@link CronError}. */
export function parseCron(text: string): Cron {
  const parts = text.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) {
    throw new CronError(`must have five fields (minute, hour, day of month, month, day of week), has ${parts.length}`);
  }
  const values = (index: number): number[] => valuesOf(parts[index]!, FIELDS[index]!);
  return {
    minutes: values(0),
    hours: values(1),
    days: new Set(values(2)),
    months: new Set(values(3)),
    weekdays: new Set(values(4).map((day) => day % 7)),
    eitherDay: !parts[2]!.startsWith('*') && !parts[4]!.startsWith('*'),
  };
}

function valuesOf(text: string, field: Field): number[] {
  const values = new Set<number>();
  for (const item of text.split(',')) {
    const [range, step = '1', ...more] = item.split('/');
    if (more.length > 0 || !/^[1-9]\d{0,3}$/.test(step)) throw wrong(item, field);
    const [from, to] = boundsOf(range!, field, item.includes('/'));
    if (from > to) throw wrong(item, field);
    for (let value = from; value <= to; value += Number(step)) values.add(value);
  }
  return [...values].sort((a, b) => a - b);
}

function boundsOf(range: string, field: Field, stepped: boolean): [number, number] {
  if (range === '*') return [field.least, field.most];
  const [from, to, ...more] = range.split('-').map((one) => valueOf(one, field));
  if (more.length > 0) throw wrong(range, field);
  // As in `5/15`: from 5 on.
  return [from!, to ?? (stepped ? field.most : from!)];
}

function valueOf(text: string, field: Field): number {
  const word = field.words?.indexOf(text.toLowerCase()) ?? -1;
  if (word >= 0) return word + field.least;
  const value = /^\d{1,2}$/.test(text) ? Number(text) : NaN;
  if (!(value >= field.least && value <= field.most)) throw wrong(text, field);
  return value;
}

function wrong(text: string, { name, least, most }: Field): CronError {
  return new CronError(`${name}: '${text}' is no value, range, list or step from ${least} to ${most}`);
}

/** The first occurrence after an instant (both in ms since 1970), in UTC; undefined when there never is one, as on 30 February. */
export function nextOccurrence(cron: Cron, afterMs: number): number | undefined {
  const firstDay = Math.floor(afterMs / DAY_MS) * DAY_MS;
  for (let day = 0; day <= SEARCH_DAYS; day++) {
    const midnight = firstDay + day * DAY_MS;
    if (!isOn(cron, new Date(midnight))) continue;
    for (const hour of cron.hours) {
      for (const minute of cron.minutes) {
        const at = midnight + (hour * 60 + minute) * 60_000;
        if (at > afterMs) return at;
      }
    }
  }
  return undefined;
}

function isOn({ days, months, weekdays, eitherDay }: Cron, date: Date): boolean {
  if (!months.has(date.getUTCMonth() + 1)) return false;
  const day = days.has(date.getUTCDate());
  const weekday = weekdays.has(date.getUTCDay());
  return eitherDay ? day || weekday : day && weekday;
}

/** When something happens again and again: the five fields of cron, in UTC. */
export const CronExpression = z
  .string()
  .max(256)
  .superRefine((text, context) => {
    const problem = problemOf(text);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

function problemOf(text: string): string | undefined {
  try {
    return nextOccurrence(parseCron(text), 0) === undefined ? 'names a day that never comes' : undefined;
  } catch (error) {
    return (error as CronError).message;
  }
}
