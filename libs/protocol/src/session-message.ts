import { z } from 'zod';
import { ErrorBody } from './errors';
import { SESSION_FRAME } from './session';

/** The last message of a session: how the command ended, or why there is no such end. Nothing of it: a console that ended. */
export const SessionEnd = z.strictObject({
  code: z.int().optional(),
  signal: z.int().optional(),
  error: ErrorBody.optional(),
});
export type SessionEnd = z.infer<typeof SessionEnd>;

/** Content of one message, at most: small enough that nothing waits long behind it. */
export const SESSION_CONTENT_MAX = 32_768;

const CONTENT: readonly number[] = [SESSION_FRAME.stdin, SESSION_FRAME.stdout, SESSION_FRAME.stderr];

/** Whether messages of this type use up credit. */
export const isSessionContent = (type: number): boolean => CONTENT.includes(type);

export interface SessionMessage {
  type: number;
  number: number;
  content: Uint8Array;
}

const HEADER = 5;

export function encodeSessionMessage(type: number, number: number, content: Uint8Array = new Uint8Array()): Uint8Array {
  const message = new Uint8Array(HEADER + content.length);
  message[0] = type;
  new DataView(message.buffer).setUint32(1, number, true);
  message.set(content, HEADER);
  return message;
}

/** `undefined` when it is no message of a session. */
export function decodeSessionMessage(bytes: Uint8Array): SessionMessage | undefined {
  if (bytes.length < HEADER) return undefined;
  const number = new DataView(bytes.buffer, bytes.byteOffset, HEADER).getUint32(1, true);
  return { type: bytes[0]!, number, content: bytes.subarray(HEADER) };
}

export function encodeCredit(bytes: number): Uint8Array {
  const content = new Uint8Array(4);
  new DataView(content.buffer).setUint32(0, bytes, true);
  return content;
}

export function decodeCredit(content: Uint8Array): number | undefined {
  if (content.length !== 4) return undefined;
  return new DataView(content.buffer, content.byteOffset, 4).getUint32(0, true);
}

/** Rows and columns. */
export function encodeSize(rows: number, columns: number): Uint8Array {
  const content = new Uint8Array(4);
  const view = new DataView(content.buffer);
  view.setUint16(0, rows, true);
  view.setUint16(2, columns, true);
  return content;
}

export function decodeSize(content: Uint8Array): { rows: number; columns: number } | undefined {
  if (content.length !== 4) return undefined;
  const view = new DataView(content.buffer, content.byteOffset, 4);
  return { rows: view.getUint16(0, true), columns: view.getUint16(2, true) };
}
