/** Numbers and times as this page writes them. Digits line up because every cell uses tabular figures. */

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const upToOne = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export const NOTHING = '–';

export function count(value: number): string {
  return plain.format(value);
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** MiB in the unit that reads best: `512 MiB`, `1.5 GiB`, `2 TiB`. */
export function mebibytes(value: number): string {
  if (value === 0) return '0 MiB';
  const size = Math.abs(value);
  if (size < 10 && !Number.isInteger(value)) return `${oneDigit.format(value)} MiB`;
  if (size < 1024) return `${plain.format(value)} MiB`;
  if (size < 1024 * 1024) return `${upToOne.format(value / 1024)} GiB`;
  return `${upToOne.format(value / 1024 / 1024)} TiB`;
}

/** A ratio: `1.50×`. */
export function ratio(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)}×`;
}

export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return NOTHING;
  return `${value > 0 && value < 10 ? value.toFixed(1) : plain.format(value)} %`;
}

/** ms in the unit that reads best: `0.42 ms`, `12.3 ms`, `840 ms`, `1.25 s`, `3 min 5 s`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return NOTHING;
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 9.995) return `${ms.toFixed(2)} ms`;
  if (ms < 99.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  return age(ms);
}

/** A coarse span of two units at most: `8 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, 'h', minutes % 60, 'min');
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

const two = (value: number): string => String(value).padStart(2, '0');

/** Local time of day with ms: `14:03:22.123`. */
export function clock(ms: number): string {
  const date = new Date(ms);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  return `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** Local date and time with ms: `2026-03-04 14:03:22.123`. {@link parseInstant} reads it back. */
export function instant(ms: number): string {
  const date = new Date(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
}

/** Reads what a person types: local `YYYY-MM-DD HH:MM[:SS[.mmm]]`, ISO 8601 with a zone, or ms since 1970. Null when it is none. */
export function parseInstant(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d{12,14}(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  const shape = /^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?\s?(Z|[+-]\d{2}:?\d{2})?$/i;
  if (!shape.test(trimmed)) return null;
  const ms = Date.parse(trimmed.replace(' ', 'T').replace(/\s/g, ''));
  return Number.isFinite(ms) ? ms : null;
}
