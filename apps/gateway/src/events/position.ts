/** A place in the two streams of histories: everything up to these sequences has been told. */
export interface Position {
  microvm: number;
  host: number;
}

/** `<sequence of microVM histories>.<sequence of host histories>`, the id of a server-sent event. */
export function formatPosition({ microvm, host }: Position): string {
  return `${microvm}.${host}`;
}

const FORM = /^(\d{1,15})(?:\.(\d{1,15}))?$/;
export const POSITION_PATTERN = FORM;

/** Undefined when the text is no position. The host part may be missing: then hosts are told from now on. */
export function parsePosition(text: string, now: Position): Position | undefined {
  const match = FORM.exec(text);
  if (!match) return undefined;
  return { microvm: Number(match[1]), host: match[2] === undefined ? now.host : Number(match[2]) };
}
