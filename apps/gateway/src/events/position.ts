import type { ViewKind } from '#protocol';

/** A place in the streams of histories: everything up to these sequences has been told. */
export type Position = Record<ViewKind, number>;

/** Sequences of the histories of microVMs, hosts and groups with dots between them: the id of a server-sent event. */
export function formatPosition({ microvm, host, group }: Position): string {
  return `${microvm}.${host}.${group}`;
}

const FORM = /^(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?$/;
export const POSITION_PATTERN = FORM;

/** Undefined when the text is no position. Later parts may be missing: then hosts, or groups, are told from now on. */
export function parsePosition(text: string, now: Position): Position | undefined {
  const match = FORM.exec(text);
  if (!match) return undefined;
  const part = (index: number, otherwise: number): number =>
    match[index] === undefined ? otherwise : Number(match[index]);
  return { microvm: Number(match[1]), host: part(2, now.host), group: part(3, now.group) };
}
