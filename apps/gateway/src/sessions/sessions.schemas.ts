import { z } from 'zod';

const Word = z
  .string()
  .max(4_096)
  .regex(/^[^\0]*$/, 'must not hold a NUL byte');
const GuestPath = z
  .string()
  .min(1)
  .max(4_096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

/** A command to run to its end. */
export const RunBody = z.strictObject({
  command: z.array(Word).min(1).max(256),
  /** Added to the image's environment. */
  env: z.record(z.string().regex(/^[^=\0]+$/, 'must be a variable name'), Word).default({}),
  user: z.string().max(128).optional(),
  workdir: GuestPath.optional(),
  /** Its standard input, as text or, with `encoding`, in base64. Absent: empty. */
  stdin: z.string().optional(),
  /** Of stdin, stdout and stderr in these messages. */
  encoding: z.enum(['utf8', 'base64']).default('utf8'),
  /** After this long it is ended. */
  timeoutMs: z.int().min(1).max(600_000).default(60_000),
  /** Of each of the two streams; what is beyond is thrown away. */
  maxOutputBytes: z.int().min(0).max(8_388_608).default(1_048_576),
});

export const RunAnswer = z.strictObject({
  /** null: ended by a signal, or not ended in time. */
  exitCode: z.int().nullable(),
  signal: z.int().nullable(),
  stdout: z.string(),
  stderr: z.string(),
  /** There was more output than was asked for. */
  truncated: z.boolean(),
  /** It was ended because its time was up. */
  timedOut: z.boolean(),
});

export const FilesQuery = z.strictObject({ path: GuestPath });

export const ConsoleQuery = z.strictObject({
  /** So much of what the console kept comes first. */
  historyBytes: z.coerce.number().int().min(0).max(65_536).default(4_096),
});

export const PutAnswer = z.strictObject({ path: z.string() });
