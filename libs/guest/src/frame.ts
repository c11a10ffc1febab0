import { GuestProtocolError, GuestRequestError } from './errors';

/** `enum volley_frame_type` of native/abi/volley_guest.h. */
export const GUEST_FRAME = {
  exec: 1,
  put: 2,
  get: 3,
  clock: 4,
  shutdown: 5,
  ping: 6,
  hold: 7,
  restored: 8,
  stdin: 16,
  resize: 17,
  signal: 18,
  entry: 32,
  data: 33,
  end: 34,
  started: 64,
  stdout: 65,
  stderr: 66,
  exited: 67,
  result: 68,
  credit: 69,
} as const;

/** Bytes of a frame's body, at most. */
export const GUEST_FRAME_MAX = 65_536;
/** Bytes of standard input that may be under way to the guest. */
export const GUEST_STDIN_WINDOW = 262_144;
const HEADER = 8;

export interface GuestFrame {
  type: number;
  body: Buffer;
}

/** @throws GuestRequestError when the body does not fit a frame. */
export function encodeFrame(type: number, body: Uint8Array = Buffer.alloc(0)): Buffer {
  if (body.length > GUEST_FRAME_MAX) {
    throw new GuestRequestError(
      `${body.length} bytes are too much for the guest to be told at once; the most is 64 KiB`,
    );
  }
  const frame = Buffer.allocUnsafe(HEADER + body.length);
  frame.writeUInt32LE(body.length, 0);
  frame.writeUInt32LE(type, 4);
  frame.set(body, HEADER);
  return frame;
}

/** Takes frames out of bytes as they come. Holds less than one frame. */
export class FrameDecoder {
  #held: Buffer = Buffer.alloc(0);

  /** The frames that are whole now. @throws GuestProtocolError when there is a frame that is too long. */
  push(chunk: Uint8Array): GuestFrame[] {
    const bytes =
      this.#held.length === 0
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
        : Buffer.concat([this.#held, chunk]);
    const frames: GuestFrame[] = [];
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32LE(at);
      if (length > GUEST_FRAME_MAX) throw new GuestProtocolError(`the guest sent a frame of ${length} bytes`);
      if (bytes.length - at < HEADER + length) break;
      frames.push({ type: bytes[at + 4]!, body: bytes.subarray(at + HEADER, at + HEADER + length) });
      at += HEADER + length;
    }
    // A copy: a view of a few bytes would keep the whole chunk.
    this.#held = Buffer.from(bytes.subarray(at));
    return frames;
  }
}
