/** A time as the API takes it; one without a zone is meant as on the clock of whoever types it. What is no time is left to the API to refuse. */
export function instant(text: string): string {
  if (/^\d+(\.\d+)?$/.test(text) || /(Z|[+-]\d\d:\d\d)$/.test(text)) return text;
  const parsed = new Date(text);
  return Number.isNaN(parsed.getTime()) ? text : parsed.toISOString();
}

export const INSTANT_HELP = 'ISO 8601, or ms since 1970';
/** Replaying a long history takes its time. */
export const REPLAY_DEADLINE_MS = 130_000;
