import type { LogPiece } from '../api/client';

/** How much of a serial console stays in the page, characters. */
const KEPT = 256 * 1024;

/** The end of a serial console, put together from pieces. Immutable. */
export interface LogTail {
  text: string;
  /** Where to go on reading; null before the first piece. */
  since: number | null;
  /** True when something before the text is not shown, because the host or this page dropped it. */
  cut: boolean;
}

export const EMPTY_LOG: LogTail = { text: '', since: null, cut: false };

/** Terminal control sequences: colours, cursor moves, titles. */
// eslint-disable-next-line no-control-regex
const CONTROL = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

/** Guest output is data from a stranger: control sequences are dropped, other control characters made visible. */
export function readable(text: string): string {
  return text
    .replace(CONTROL, '')
    .replace(/\r+\n/g, '\n')
    .replace(/\r/g, '\n')
    .replace(UNPRINTABLE, (character) =>
      String.fromCharCode(0x2400 + (character === '\u007f' ? 0x21 : character.charCodeAt(0))),
    );
}

export function appendLog(tail: LogTail, piece: LogPiece): LogTail {
  // The host starts a new console with every incarnation.
  if (tail.since !== null && piece.to < tail.since) return appendLog(EMPTY_LOG, piece);
  const gap = tail.since !== null && piece.from > tail.since;
  if (piece.text === '' && !gap)
    return { ...tail, since: piece.to, cut: tail.cut || (tail.since === null && piece.from > 0) };
  const cut = tail.cut || gap || (tail.since === null && piece.from > 0);
  const joined = tail.text + (gap ? '\n[… not kept by the host …]\n' : '') + readable(piece.text);
  if (joined.length <= KEPT) return { text: joined, since: piece.to, cut };
  const kept = joined.slice(-KEPT);
  return { text: kept.slice(kept.indexOf('\n') + 1), since: piece.to, cut: true };
}
