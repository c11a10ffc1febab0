import { EventEmitter } from 'node:events';
import type { FleetChange, FleetView } from '#fleet';
import { HistoryLostError, type JournalEntry } from '#journal';
import type { Microvm, MicrovmRecord } from '#protocol';
import fc from 'fast-check';
import type { TenantView } from '../tenancy/tenant-view';
import { parseEvents } from '../testing/sse-client';
import { ChangeLog } from './change-log';
import { EventStream, type EventStreamOptions } from './event-stream';
import type { HistoryPages } from './history-pages';

/** A fleet of one stream of microVM records, `past` of them before the log begins. */
class FakeFleet {
  readonly records: JournalEntry<MicrovmRecord>[] = [];
  readonly listeners = new Set<(change: FleetChange) => void>();
  readonly log: ChangeLog;

  constructor(past: number, capacity: number) {
    for (let i = 0; i < past; i++) this.add();
    this.log = new ChangeLog(this as unknown as FleetView, capacity);
  }

  get position(): number {
    return this.records.length;
  }
  positionOf = (kind: string) => (kind === 'microvm' ? this.position : 0);
  onChange(listener: (change: FleetChange) => void) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  microvm = (id: string) => ({ id, revision: this.position }) as Microvm;
  waitForMicrovmSequence = () => Promise.reject(new Error('not here'));

  add(id = 'm'): void {
    const sequence = this.records.length + 1;
    const record = { microvmId: id } as MicrovmRecord;
    this.records.push({ subject: 's', sequence, timeMs: 0, record, commandId: undefined });
    const change: FleetChange = { kind: 'microvm', sequence, microvm: this.microvm(id), record };
    for (const listener of this.listeners) listener(change);
  }

  /** Sequences read from here and not from the log. */
  readonly replayed: number[] = [];
  readonly pages: HistoryPages = {
    microvms: async (after, limit, microvmId) => {
      await Promise.resolve();
      if (after > this.position) throw new HistoryLostError('the stream ends before');
      const page = this.records
        .filter(
          ({ sequence, record }) => sequence > after && (microvmId === undefined || record.microvmId === microvmId),
        )
        .slice(0, limit);
      this.replayed.push(...page.map(({ sequence }) => sequence));
      return page;
    },
    hosts: () => Promise.resolve([]),
    groups: () => Promise.resolve([]),
  };
}

/** A response that takes `room` writes before it pushes back, until it is drained. */
class FakeOutlet extends EventEmitter {
  text = '';
  written = 0;
  state: 'open' | 'ended' | 'destroyed' = 'open';
  constructor(public room = Infinity) {
    super();
  }
  get destroyed(): boolean {
    return this.state === 'destroyed';
  }
  write(text: string): boolean {
    this.text += text;
    this.written++;
    return --this.room > 0;
  }
  drain(room: number): void {
    this.room = room;
    this.emit('drain');
  }
  end(text = ''): void {
    this.text += text;
    this.state = 'ended';
  }
  destroy(): void {
    this.state = 'destroyed';
  }
  get sequences(): number[] {
    return parseEvents(this.text).flatMap(({ type, data }) => (type === 'microvm' ? [data.sequence as number] : []));
  }
}

const turns = async (count = 30): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
};

function open(fleet: FakeFleet, out: FakeOutlet, options: Partial<EventStreamOptions> = {}) {
  const shutdown = new AbortController();
  const stream = new EventStream(out, fleet as unknown as FleetView, fleet.log, fleet.pages, {
    heartbeatMs: 60_000,
    stallMs: 60_000,
    shutdown: shutdown.signal,
    ...options,
  });
  return { end: stream.run(), shutdown };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('EventStream', () => {
  it('tells a tenant, live and replayed, what is its own, also of microVMs that nobody has in memory any more', async () => {
    const fleet = new FakeFleet(0, 2);
    for (const id of ['own', 'theirs', 'own', 'lost', 'theirs', 'own']) fleet.add(id);
    const owners: Record<string, string> = { own: 'acme', theirs: 'rival' };
    fleet.microvm = () => undefined as unknown as Microvm;
    const asked: string[] = [];
    const out = new FakeOutlet();
    const { end, shutdown } = open(fleet, out, {
      from: { microvm: 0, host: 0, group: 0 },
      view: {
        tenant: 'acme',
        microvm: (one: Microvm) => one,
        record: (one: MicrovmRecord) => one,
      } as unknown as TenantView,
      ownerOf: (id) => {
        asked.push(id);
        return Promise.resolve(owners[id] ?? null);
      },
    });
    await turns();
    expect(out.sequences).toEqual([1, 3, 6]);
    expect(new Set(asked)).toEqual(new Set(['own', 'theirs', 'lost']));
    fleet.microvm = (id: string) => ({ id, tenant: owners[id] }) as Microvm;
    for (const id of ['theirs', 'own']) fleet.add(id);
    await turns();
    expect(out.sequences).toEqual([1, 3, 6, 8]);
    expect(out.text).not.toContain('theirs');
    shutdown.abort();
    expect(await end).toBe('shutdown');
  });

  it('ends at once when its client went before it began', async () => {
    const fleet = new FakeFleet(0, 8);
    const out = new FakeOutlet();
    out.destroy();
    expect(await open(fleet, out).end).toBe('closed');
    expect(out.written).toBe(0);
  });

  it('ends when the token of its client does', async () => {
    const fleet = new FakeFleet(0, 8);
    const out = new FakeOutlet();
    const token = new AbortController();
    const { end } = open(fleet, out, { tokenEnd: token.signal });
    token.abort();
    expect(await end).toBe('token');
    expect(out.state).toBe('ended');
    expect(out.text).toContain(': the token has ended');
  });

  it('tells what comes, and nothing of before', async () => {
    const fleet = new FakeFleet(5, 8);
    const out = new FakeOutlet();
    const { end } = open(fleet, out);
    await turns();
    fleet.add();
    fleet.add();
    await turns();
    expect(out.sequences).toEqual([6, 7]);
    expect(out.text).toMatch(/^retry: \d+\nid: 5\.0\.0\n\n/);
    out.emit('close');
    expect(await end).toBe('closed');
    expect(out.listenerCount('close') + out.listenerCount('drain')).toBe(0);
  });

  it('reads from the histories what the log no longer has', async () => {
    const fleet = new FakeFleet(1_000, 4);
    const out = new FakeOutlet();
    const { shutdown, end } = open(fleet, out, { from: { microvm: 10, host: 0, group: 0 } });
    fleet.add();
    await turns();
    fleet.add();
    await turns();
    expect(out.sequences).toEqual(range(11, 1_002));
    shutdown.abort();
    expect(await end).toBe('shutdown');
    expect(out.state).toBe('ended');
  });

  it('takes what the log still has from there', async () => {
    const fleet = new FakeFleet(3, 100);
    for (let i = 0; i < 20; i++) fleet.add();
    const out = new FakeOutlet();
    open(fleet, out, { from: { microvm: 5, host: 0, group: 0 } });
    await turns();
    expect(out.sequences).toEqual(range(6, 23));
    expect(fleet.replayed).toEqual([]);
  });

  it('goes back to the histories when a burst outran the log', async () => {
    const fleet = new FakeFleet(0, 4);
    const out = new FakeOutlet();
    open(fleet, out);
    await turns();
    for (let i = 0; i < 50; i++) fleet.add(); // in one turn: nobody can follow that
    await turns();
    expect(out.sequences).toEqual(range(1, 50));
    expect(fleet.replayed).not.toEqual([]);
  });

  it('follows one microVM', async () => {
    const fleet = new FakeFleet(0, 8);
    for (const id of ['a', 'b', 'a', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'a']) fleet.add(id);
    const out = new FakeOutlet();
    open(fleet, out, { from: { microvm: 0, host: 0, group: 0 }, microvmId: 'a' });
    await turns();
    fleet.add('b');
    fleet.add('a');
    await turns();
    expect(out.sequences).toEqual([1, 3, 11, 13]);
  });

  it('writes no more than the client takes', async () => {
    const fleet = new FakeFleet(300, 64);
    const out = new FakeOutlet(10);
    open(fleet, out, { from: { microvm: 0, host: 0, group: 0 } });
    await turns();
    expect(out.written).toBe(10);
    fleet.add();
    await turns();
    expect(out.written).toBe(10);
    out.drain(5);
    await turns();
    expect(out.written).toBe(15);
    out.drain(Infinity);
    await turns();
    expect(out.sequences).toEqual(range(1, 301));
  });

  it('cuts off a client that does not read', async () => {
    const fleet = new FakeFleet(0, 8);
    const out = new FakeOutlet(1);
    const { end } = open(fleet, out, { stallMs: 20 });
    fleet.add();
    expect(await end).toBe('slow');
    expect(out.state).toBe('destroyed');
  });

  it('cuts off a client that the log has outrun', async () => {
    const fleet = new FakeFleet(0, 4);
    const out = new FakeOutlet(2);
    const { end } = open(fleet, out);
    await turns();
    fleet.add(); // fills it
    await turns();
    for (let i = 0; i < 20; i++) fleet.add();
    await turns();
    out.drain(2);
    expect(await end).toBe('slow');
  });

  it('starts anew when the last event id belongs to another fleet', async () => {
    const fleet = new FakeFleet(5, 8);
    const out = new FakeOutlet();
    open(fleet, out, { from: { microvm: 500, host: 9, group: 9 } });
    await turns();
    fleet.add();
    await turns();
    expect(parseEvents(out.text).map(({ type, id }) => `${type} ${id}`)).toEqual([
      'id 500.9.9',
      'reset 5.0.0',
      'microvm 6.0.0',
    ]);
  });

  it('says that it is alive, with its position', async () => {
    const fleet = new FakeFleet(5, 8);
    const out = new FakeOutlet();
    open(fleet, out, { heartbeatMs: 5, microvmId: 'other' });
    await turns();
    fleet.add();
    while (!out.text.includes(': alive\nid: 6.0.0\n\n')) await turns();
    expect(out.sequences).toEqual([]);
  });

  it('loses and doubles nothing, however client and fleet take turns', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(40),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(40),
        fc.array(
          fc.oneof(
            fc.record({ add: fc.nat(20) }),
            fc.record({ drain: fc.integer({ min: 1, max: 9 }) }),
            fc.constant({}),
          ),
          {
            maxLength: 30,
          },
        ),
        async (past, capacity, from, steps) => {
          const fleet = new FakeFleet(past, capacity);
          const start = Math.min(from, past);
          let seen: number[] = [];
          let last = start;
          let out = new FakeOutlet(3);
          let client = open(fleet, out, { from: { microvm: last, host: 0, group: 0 } });
          const takeUp = async (): Promise<void> => {
            // A client that was cut off comes back with the id of the last event it has.
            seen = [...seen, ...out.sequences];
            last = seen.at(-1) ?? start;
            out = new FakeOutlet(3);
            client = open(fleet, out, { from: { microvm: last, host: 0, group: 0 } });
            await turns(3);
          };
          for (const step of steps as { add?: number; drain?: number }[]) {
            for (let i = 0; i < (step.add ?? 0); i++) fleet.add();
            if (step.drain !== undefined) out.drain(step.drain);
            await turns(3);
            if (out.state === 'destroyed') await takeUp();
          }
          for (let i = 0; i < 100 && (out.sequences.at(-1) ?? last) < fleet.position; i++) {
            out.drain(50);
            await turns(3);
            if (out.state === 'destroyed') await takeUp();
          }
          client.shutdown.abort();
          await client.end;
          expect([...seen, ...out.sequences]).toEqual(start === fleet.position ? [] : range(start + 1, fleet.position));
        },
      ),
      { numRuns: 60 },
    );
  });
});
