import { z } from 'zod';
import { MicrovmId } from './ids';
import { operation } from './operation';

const Word = z.string().max(4_096);
const GuestPath = z
  .string()
  .min(1)
  .max(4_096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

/** What a session does in the guest. */
export const SessionOpen = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('exec'),
    command: z.array(Word).min(1).max(256),
    env: z.record(z.string(), z.string()).default({}),
    user: z.string().max(128).optional(),
    workdir: GuestPath.optional(),
    /** Whether what the client sends reaches the program; otherwise its standard input is empty. */
    stdin: z.boolean().default(false),
    tty: z.strictObject({ rows: z.int().min(1).max(1_000), columns: z.int().min(1).max(1_000) }).optional(),
  }),
  /** The serial console, from the end of what it keeps; what the client sends is typed. */
  z.strictObject({ kind: z.literal('console'), historyBytes: z.int().min(0).max(65_536).default(4_096) }),
  /** Copies a tar stream from the client into a folder of the guest, or a file or folder of the guest out as a tar stream. */
  z.strictObject({ kind: z.literal('put'), path: GuestPath }),
  z.strictObject({ kind: z.literal('get'), path: GuestPath }),
]);
export type SessionOpen = z.infer<typeof SessionOpen>;

export const openSession = operation({
  subject: 'volley.v1.hosts.{hostId}.session',
  request: z.strictObject({
    /** Chosen by the client; names the two subjects of the stream. */
    sessionId: z.string().regex(/^[a-zA-Z0-9_-]{16,64}$/),
    microvmId: MicrovmId,
    open: SessionOpen,
    by: z.string().min(1).max(128).optional(),
  }),
  reply: z.strictObject({ accepted: z.literal(true) }),
  deadlineMs: 10_000,
  summary: 'Opens a stream into a microVM: a command, its console, or files.',
});

/** Core NATS subjects of an open session; below those of its host, so that no other host can listen. `*` stands for any. */
export const sessionToGuest = (hostId: string, sessionId: string): string =>
  `volley.v1.hosts.${hostId}.sessions.${sessionId}.guest`;
export const sessionToClient = (hostId: string, sessionId: string): string =>
  `volley.v1.hosts.${hostId}.sessions.${sessionId}.client`;

/**
 * Every message of a session is one byte that says what it is, four bytes of its number (little endian, from 0, per direction:
 * a gap means that messages were lost, and ends the session), and its content. WebSockets carry the same without the number.
 */
export const SESSION_FRAME = {
  // towards the guest
  stdin: 1, // bytes; none: end of input
  resize: 2, // rows, columns: two bytes each
  signal: 3, // one byte
  // towards the client
  stdout: 16,
  stderr: 17,
  started: 18,
  exited: 19, // JSON {"code"?, "signal"?, "error"?: {"code", "message"}}; the last of a session
  // both
  credit: 32, // four bytes: so many more bytes of content may be sent. A session starts with SESSION_WINDOW on either side
  alive: 33, // every 10 s; a side that hears nothing for 30 s ends the session
  close: 34,
} as const;
export const SESSION_WINDOW = 256 * 1024;
