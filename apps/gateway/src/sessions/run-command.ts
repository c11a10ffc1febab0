import { onAbort } from '#concurrency';
import type { SessionEnd, SessionOpen } from '#protocol';
import type { SessionPlace } from './guest-session';
import type { SessionOpener } from './session-opener';

export interface RunLimits {
  timeoutMs: number;
  /** Of each of the two streams. */
  maxOutputBytes: number;
}

export interface RunResult {
  end: SessionEnd;
  stdout: Buffer;
  stderr: Buffer;
  /** There was more than was kept. */
  truncated: boolean;
  timedOut: boolean;
}

/** Output that is kept up to a bound; what is beyond is thrown away, so that the command goes on. */
class Kept {
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  truncated = false;

  constructor(private readonly most: number) {}

  add(bytes: Uint8Array): void {
    const part = bytes.subarray(0, this.most - this.#bytes);
    if (part.length < bytes.length) this.truncated = true;
    if (part.length === 0) return;
    this.#parts.push(Buffer.from(part));
    this.#bytes += part.length;
  }

  whole(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/**
 * Runs a command to its end and keeps what it says. When time is up, or `signal` aborts, it is ended.
 *
 * @throws OperationError when it cannot be started at all.
 */
export async function runCommand(
  opener: SessionOpener,
  place: SessionPlace,
  open: Extract<SessionOpen, { kind: 'exec' }>,
  input: Uint8Array,
  { timeoutMs, maxOutputBytes }: RunLimits,
  signal: AbortSignal,
): Promise<RunResult> {
  const kept = { stdout: new Kept(maxOutputBytes), stderr: new Kept(maxOutputBytes) };
  const session = await opener.open(place, open, {
    output: (stream, bytes, took) => {
      kept[stream].add(bytes);
      took();
    },
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    session.close();
  }, timeoutMs);
  const off = onAbort(signal, () => session.close());
  try {
    // A command that ends without reading its input is no error.
    if (open.stdin)
      void session.write(input).then(
        () => session.endInput(),
        () => undefined,
      );
    const end = await session.ended;
    const { stdout, stderr } = kept;
    return {
      end,
      stdout: stdout.whole(),
      stderr: stderr.whole(),
      truncated: stdout.truncated || stderr.truncated,
      timedOut,
    };
  } finally {
    clearTimeout(timer);
    off();
  }
}
