import type { HostView } from './host-view';

/** ok: as it should be. warn: works, but not as well or as safely as it could. fail: Volley cannot do its work. */
export type Verdict = 'ok' | 'warn' | 'fail';

export interface Finding {
  check: string;
  verdict: Verdict;
  /** What there is. */
  found: string;
  /** What to change; absent when all is well. */
  advice?: string;
}

/** Looks at one thing. Undefined: it does not apply to this host. */
export type Check = (host: HostView) => Finding | undefined;

export const ok = (check: string, found: string): Finding => ({ check, verdict: 'ok', found });
export const warn = (check: string, found: string, advice: string): Finding => ({
  check,
  verdict: 'warn',
  found,
  advice,
});
export const fail = (check: string, found: string, advice: string): Finding => ({
  check,
  verdict: 'fail',
  found,
  advice,
});

/** A number in a file of one line. */
export function numberIn(host: HostView, path: string): number | undefined {
  const text = host.read(path)?.trim();
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

/** The chosen word of `always [madvise] never`. */
export function chosenIn(host: HostView, path: string): string | undefined {
  const text = host.read(path);
  return text === undefined ? undefined : (/\[(\w+)\]/.exec(text)?.[1] ?? text.trim());
}
