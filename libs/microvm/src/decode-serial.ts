import type { SerialRead } from './microvm-driver';

export interface SerialChunk {
  bytes: Uint8Array;
  from: number;
  to: number;
  /** Nothing will follow: the VMM has ended. */
  ended: boolean;
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

const isContinuation = (byte: number | undefined) => byte !== undefined && byte >= 0x80 && byte < 0xc0;

/** Bytes at the end that begin a character whose rest has not arrived. */
function unfinishedTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (isContinuation(byte)) continue;
    const length = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    return byte < 0xf8 && length > back ? back : 0;
  }
  return 0;
}

/**
 * Serial bytes to text. Invalid UTF-8 becomes U+FFFD; a character that the ends of the read cut through is left out: at
 * the front when earlier bytes are lost, at the back when more may follow (a later read with `since` brings it whole).
 */
export function decodeSerial(chunk: SerialChunk, since?: number): SerialRead {
  let { bytes, from, to } = chunk;
  if (from > 0 && from !== since) {
    let cut = 0;
    while (cut < 3 && isContinuation(bytes[cut])) cut++;
    bytes = bytes.subarray(cut);
    from += cut;
  }
  if (!chunk.ended) {
    const tail = unfinishedTail(bytes);
    // A read too small for one character has to make progress all the same.
    if (tail < bytes.length || tail === 0) {
      bytes = bytes.subarray(0, bytes.length - tail);
      to -= tail;
    }
  }
  return { text: decoder.decode(bytes), from, to };
}
