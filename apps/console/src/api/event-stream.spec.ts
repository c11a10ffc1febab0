import { EventStream, type ConnectionState, type EventStreamListener, type EventStreamSource } from './event-stream';
import { Problem } from './problem';

type Script = (lastEventId: string | null, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A stream that hands out the pieces and then ends, or breaks with `error`. */
const stream = (pieces: string[], error?: Error): Script =>
  async function open() {
    return (async function* () {
      for (const piece of pieces) yield bytes(piece);
      if (error) throw error;
    })();
  };

/** A stream that hands out the pieces and then stays open until the attempt is aborted. */
const openStream = (pieces: string[], onIdle: () => void = () => undefined): Script =>
  async function open(_, signal) {
    return (async function* () {
      for (const piece of pieces) yield bytes(piece);
      onIdle();
      if (!signal.aborted) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      }
      signal.throwIfAborted();
    })();
  };

const refuse =
  (status: number): Script =>
  () =>
    Promise.reject(new Problem(status, 'refused', ''));

/** Runs the scripts one per connection, then stops. */
async function run(
  scripts: Script[],
  overrides: Partial<EventStreamListener> = {},
  beforeConnection: (index: number, subject: EventStream) => void = () => undefined,
): Promise<{
  positions: (string | null)[];
  events: string[];
  opened: boolean[];
  waits: number[];
  states: ConnectionState['kind'][];
  unauthorized: number;
}> {
  const seen = {
    positions: [] as (string | null)[],
    events: [] as string[],
    opened: [] as boolean[],
    waits: [] as number[],
    states: [] as ConnectionState['kind'][],
    unauthorized: 0,
  };
  let connection = 0;
  const source: EventStreamSource = {
    open(lastEventId, signal) {
      const script = scripts[connection];
      beforeConnection(connection, subject);
      connection++;
      if (!script) {
        subject.stop();
        return Promise.reject(new Error('no more scripts'));
      }
      seen.positions.push(lastEventId);
      return script(lastEventId, signal);
    },
    // The silence limit never fires here unless a test says so; waits between tries end at once.
    wait(ms, signal) {
      if (ms >= 45_000) return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      seen.waits.push(ms);
      return Promise.resolve();
    },
    now: () => 0,
    random: () => 1,
  };
  const subject: EventStream = new EventStream(source, {
    onState: (state) => seen.states.push(state.kind),
    onOpen: (resumed) => {
      seen.opened.push(resumed);
      return Promise.resolve();
    },
    onEvent: (event) => seen.events.push(event.data),
    onUnauthorized: () => seen.unauthorized++,
    ...overrides,
  });
  await subject.run();
  return seen;
}

describe('EventStream', () => {
  it('resumes after the last complete event and loses or repeats nothing', async () => {
    const seen = await run([
      stream(['id: 1\ndata: a\n\nid: 2\nda', 'ta: b\n\nid: 3\ndata: torn'], new Error('connection reset')),
      stream(['id: 3\ndata: c\n\n']),
      stream([]),
    ]);
    expect(seen.positions).toEqual([null, '2', '3']);
    expect(seen.events).toEqual(['a', 'b', 'c']);
    expect(seen.opened).toEqual([false, true, true]);
  });

  it('reads everything anew when it has no position yet', async () => {
    const seen = await run([stream([': nothing yet\n\n']), stream([])]);
    expect(seen.positions).toEqual([null, null]);
    expect(seen.opened).toEqual([false, false]);
  });

  it('backs off while it cannot connect, and starts small again after it could', async () => {
    const seen = await run([refuse(503), refuse(503), refuse(503), stream(['id: 1\ndata: a\n\n']), refuse(503)]);
    expect(seen.waits.slice(0, 5)).toEqual([500, 1000, 2000, 500, 1000]);
    expect(seen.states.at(-1)).toBe('ended');
  });

  it('starts over when the gateway cannot resume there', async () => {
    const seen = await run([stream(['id: 9\ndata: a\n\n']), refuse(410), stream([])]);
    expect(seen.positions).toEqual([null, '9', null]);
    expect(seen.opened).toEqual([false, false]);
  });

  it('keeps its position through refusals that say nothing about it', async () => {
    const seen = await run([stream(['id: 9\ndata: a\n\n']), refuse(503), stream([])]);
    expect(seen.positions).toEqual([null, '9', '9']);
  });

  it('keeps its position through connections that bring nothing', async () => {
    const seen = await run([stream(['id: 9\ndata: a\n\n']), stream([': hello\n\n']), stream([])]);
    expect(seen.positions).toEqual([null, '9', '9']);
    expect(seen.opened).toEqual([false, true, true]);
  });

  it('ends when the token is refused', async () => {
    const seen = await run([refuse(401), stream([])]);
    expect(seen.positions).toEqual([null]);
    expect(seen.unauthorized).toBe(1);
    expect(seen.states.at(-1)).toBe('ended');
  });

  it('does not resume behind a reading that failed', async () => {
    let readings = 0;
    const seen = await run([openStream(['id: 5\ndata: a\n\n']), stream([])], {
      onOpen: () => (readings++ === 0 ? Promise.reject(new Error('listing failed')) : Promise.resolve()),
    });
    expect(seen.positions).toEqual([null, null]);
    expect(seen.states).toContain('waiting');
  });

  it('does not resume behind a reading that the end of the connection cut short', async () => {
    const seen = await run([stream(['id: 5\ndata: a\n\n'], new Error('reset')), stream([])], {
      onOpen: (_, signal) =>
        new Promise((_resolve, reject) => {
          if (signal.aborted) reject(new Error('cut'));
          signal.addEventListener('abort', () => reject(new Error('cut')));
        }),
    });
    expect(seen.positions).toEqual([null, null]);
  });

  it('starts over on request', async () => {
    let subject!: EventStream;
    const seen = await run(
      [openStream(['id: 5\ndata: a\n\n'], () => subject.startOver()), stream([])],
      {},
      (_, it) => (subject = it),
    );
    expect(seen.positions).toEqual([null, null]);
  });

  it('does not take the position of the event that asks to start over', async () => {
    let subject!: EventStream;
    const seen = await run(
      [openStream(['id: 5\ndata: reset\n\n']), stream([])],
      { onEvent: () => subject.startOver() },
      (_, it) => (subject = it),
    );
    expect(seen.positions).toEqual([null, null]);
  });

  it('takes a silent connection for dead', async () => {
    const silences: (() => void)[] = [];
    let connections = 0;
    const states: ConnectionState[] = [];
    const subject = new EventStream(
      {
        open: (lastEventId, signal) => {
          if (++connections === 2) subject.stop();
          return openStream([], () => silences.at(-1)?.())(lastEventId, signal);
        },
        wait: (ms, signal) =>
          ms < 45_000
            ? Promise.resolve()
            : new Promise((resolve) => {
                silences.push(resolve);
                signal.addEventListener('abort', () => resolve());
              }),
        now: () => 0,
        random: () => 0,
      },
      {
        onState: (state) => states.push(state),
        onOpen: () => Promise.resolve(),
        onEvent: () => undefined,
        onUnauthorized: () => undefined,
      },
    );
    await subject.run();
    expect(connections).toBe(2);
    expect(states).toContainEqual(expect.objectContaining({ kind: 'waiting', why: 'the stream went silent' }));
  });
});
