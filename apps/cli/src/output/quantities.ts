/** `0.42 ms`, `12.3 ms`, `1.25 s`, `3 min 20 s`, `2 d 4 h`. */
export function duration(ms: number): string {
  const sign = ms < 0 ? '-' : '';
  const size = Math.abs(ms);
  if (size < 1_000) return `${sign}${size.toFixed(size < 10 ? 2 : 1)} ms`;
  const seconds = size / 1_000;
  if (seconds < 60) return `${sign}${seconds.toFixed(2)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${sign}${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${sign}${hours} h ${minutes % 60} min`;
  return `${sign}${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago, in one unit: `8 s`, `5 min`, `3 h`, `2 d`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** `0.4 MiB`, `12.3 MiB`, `1.5 GiB`. */
export function bytesText(bytes: number): string {
  const mib = bytes / 2 ** 20;
  return mib >= 1_024 ? `${(mib / 1_024).toFixed(1)} GiB` : `${mib.toFixed(1)} MiB`;
}

export function mebibytes(mib: number): string {
  return mib >= 10_240 ? `${(mib / 1_024).toFixed(1)} GiB` : `${Number(mib.toFixed(mib < 10 ? 2 : 0))} MiB`;
}

/** Local time to the millisecond. */
export function clock(at: number | string): string {
  const date = new Date(at);
  const two = (n: number): string => String(n).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `500ms`, `20s`, `2m`, `1h`, `30d` or a bare number of seconds; undefined when it is none of them. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  return match ? Math.round(Number(match[1]) * UNIT_MS[match[2] ?? 's']!) : undefined;
}
