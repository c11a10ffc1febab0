import type { MsgHdrs } from 'nats';

/** One record with its place in history. */
export interface JournalEntry<Record> {
  readonly subject: string;
  /** The stream's sequence of this record: unique, and rising with time over all subjects of the journal. */
  readonly sequence: number;
  /** When JetStream stored it: ms since 1970, with microseconds in the fraction. */
  readonly timeMs: number;
  readonly record: Record;
  /** The command id it was appended with; absent when somebody else wrote the message. */
  readonly commandId: string | undefined;
}

/** A message on the journal's subjects that is not a record. */
export interface UnreadableMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly timeMs: number;
  readonly error: unknown;
}

const MESSAGE_ID = 'Nats-Msg-Id';

/**
 * De-duplication by JetStream is per stream, not per subject: without the subject in it, a command id used for two subjects
 * would silently swallow the second record.
 */
export function messageId(subject: string, commandId: string): string {
  return `${subject}/${commandId}`;
}

/** The name of a command that is recorded for the n-th time, because the records before do not count. Command ids have no spaces. */
export function attemptOf(commandId: string, attempt: number): string {
  return attempt === 1 ? commandId : `${commandId} ${attempt}`;
}

export function commandIdOf(subject: string, headers: MsgHdrs | undefined): string | undefined {
  const id = headers?.get(MESSAGE_ID);
  return id?.startsWith(`${subject}/`) ? id.slice(subject.length + 1).split(' ')[0] : undefined;
}

/** An entry as it was stored. Its headers are parsed when its command is asked for, and hardly anybody asks. */
export class StoredEntry<Record> implements JournalEntry<Record> {
  readonly #headers: () => MsgHdrs | undefined;

  constructor(
    readonly subject: string,
    readonly sequence: number,
    readonly timeMs: number,
    readonly record: Record,
    headers: () => MsgHdrs | undefined,
  ) {
    this.#headers = headers;
  }

  get commandId(): string | undefined {
    return commandIdOf(this.subject, this.#headers());
  }
}

/** The delivery coordinates that JetStream puts into the reply subject of every delivered message. */
export interface Delivery {
  streamSequence: number;
  deliverySequence: number;
  timeMs: number;
  /** Matching messages not yet delivered. */
  pending: number;
}

/** Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<delivery seq>.<time ns>.<pending>`, with or without domain and account. */
export function parseDelivery(reply: string | undefined): Delivery | undefined {
  if (!reply?.startsWith('$JS.ACK.')) return undefined;
  const tokens = reply.split('.');
  const at = tokens.length === 9 ? 5 : tokens.length >= 11 ? 7 : -1;
  if (at < 0) return undefined;
  return {
    streamSequence: Number(tokens[at]),
    deliverySequence: Number(tokens[at + 1]),
    timeMs: nanosToMs(tokens[at + 2]!),
    pending: Number(tokens[at + 3]),
  };
}

/** Nanoseconds since 1970 do not fit a double; ms with microseconds do. */
function nanosToMs(nanos: string): number {
  return Number(nanos.slice(0, -3)) / 1000;
}

/** RFC 3339 with nanoseconds, as JetStream writes it, to ms with microseconds. */
export function timestampToMs(timestamp: string): number {
  const fraction = /\.(\d+)/.exec(timestamp)?.[1] ?? '';
  const seconds = Date.parse(timestamp.replace(/\.\d+/, ''));
  return seconds + Number(fraction.padEnd(6, '0').slice(0, 6)) / 1000;
}
