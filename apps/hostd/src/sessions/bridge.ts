import type { SessionChannel } from '#bus';
import type { SessionEnd } from '#protocol';

/** What a bridge needs of its session's channel. */
export type Pipe = Pick<SessionChannel, 'send' | 'write' | 'took'>;

/** One session, between its channel and what it is about. */
export interface Bridge {
  /** A message of the client. */
  onMessage(type: number, content: Uint8Array): void;
  /** The last word of the session. Never rejects. */
  readonly done: Promise<SessionEnd>;
  /** Lets go of everything; `done` need not resolve any more. */
  stop(): void;
}
