import { z } from 'zod';
import { OperationError } from '#protocol';

const UTF8 = new TextDecoder('utf-8', { fatal: true });
const MAX_DETAILS = 20;
const MAX_TEXT = 200;

/**
 * Parses a message into what the schema says. An empty message counts as `{}`, so that a request without fields can be sent
 * by hand.
 *
 * @throws OperationError `invalid`, saying what is wrong and where; never anything else.
 */
export function decodeMessage<S extends z.ZodType>(schema: S, data: Uint8Array, maxBytes: number): z.output<S> {
  const value = parseJson(data, maxBytes);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalidMessage('the message does not have the expected fields', result.error);
}

/** Parses a message as JSON. @throws OperationError `invalid` */
export function parseJson(data: Uint8Array, maxBytes: number): unknown {
  if (data.length > maxBytes) {
    throw new OperationError('invalid', `the message has ${data.length} bytes; at most ${maxBytes} are taken`);
  }
  if (data.length === 0) return {};
  try {
    return JSON.parse(UTF8.decode(data)) as unknown;
  } catch (error) {
    throw new OperationError(
      'invalid',
      `the message is not JSON in UTF-8: ${shorten(String((error as Error).message))}`,
    );
  }
}

export function invalidMessage(summary: string, error: z.ZodError): OperationError {
  const details = error.issues.slice(0, MAX_DETAILS).map((issue) => ({
    path: shorten(issue.path.map(String).join('.')),
    message: shorten(issue.message),
  }));
  const first = details[0];
  const hint = first ? `: ${first.path ? `${first.path}: ` : ''}${first.message}` : '';
  return new OperationError('invalid', `${summary}${hint}`, details);
}

/** What a caller sent comes back in messages and logs; not all of it, if it is long. */
function shorten(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}
