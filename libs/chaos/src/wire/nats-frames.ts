/**
 * One protocol message of NATS as it is on the wire. `payload`: a message of an application (PUB, HPUB, MSG, HMSG), which may be
 * lost, doubled or late without the connection noticing; everything else belongs to the connection itself.
 */
export interface NatsFrame {
  readonly verb: string;
  /** Of a payload. */
  readonly subject?: string;
  readonly payload: boolean;
  /** All of it, line ends included. */
  readonly bytes: Buffer;
}

/** Thrown when bytes are not the protocol of NATS: a TLS handshake, for one. */
export class NotNatsError extends Error {
  override readonly name = 'NotNatsError';
}

const PAYLOADS: ReadonlySet<string> = new Set(['PUB', 'HPUB', 'MSG', 'HMSG']);
const LINE_END = '\r\n';
/** INFO and CONNECT are the longest lines there are. */
const LONGEST_LINE = 64 * 1024;

/** Cuts one direction of a connection into whole messages, however the bytes arrive. */
export class NatsFrames {
  #rest: Buffer = Buffer.alloc(0);

  /** Takes what came and gives the messages that are whole now. @throws NotNatsError */
  push(chunk: Buffer): NatsFrame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: NatsFrame[] = [];
    let at = 0;
    for (;;) {
      const frame = frameAt(this.#rest, at);
      if (!frame) break;
      frames.push(frame);
      at += frame.bytes.length;
    }
    this.#rest = this.#rest.subarray(at);
    return frames;
  }
}

function frameAt(data: Buffer, at: number): NatsFrame | undefined {
  const lineEnd = data.indexOf(LINE_END, at);
  if (lineEnd < 0) {
    if (data.length - at > LONGEST_LINE) throw new NotNatsError(`no line of NATS within ${LONGEST_LINE} bytes`);
    return undefined;
  }
  const words = data.toString('latin1', at, lineEnd).split(/[ \t]+/);
  const verb = words[0]!.toUpperCase();
  const afterLine = lineEnd + LINE_END.length;
  if (!PAYLOADS.has(verb)) {
    if (!/^[-+]?[A-Z]+$/.test(verb)) throw new NotNatsError(`${JSON.stringify(verb.slice(0, 20))} is no word of NATS`);
    return { verb, payload: false, bytes: data.subarray(at, afterLine) };
  }
  // The last word is the length of all that follows, headers included.
  const length = Number(words.at(-1));
  if (!Number.isInteger(length)) throw new NotNatsError(`${verb} without a length`);
  const end = afterLine + length + LINE_END.length;
  if (end > data.length) return undefined;
  return { verb, subject: words[1]!, payload: true, bytes: data.subarray(at, end) };
}
