import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { connectNats } from '#bus';
import { SeededRandom } from '#chaos';
import { openReceiptJournal } from '#fleet';
import type { Journal } from '#journal';
import type { HostLife } from '#lifecycle';
import type { Receipt, ReceiptMessage } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { Decider } from '../decisions/decider';
import { HostBook } from '../hosts/host-book';
import { askedFor } from '../testing/demands';
import { afterEvents, readyHost, reportOf } from '../../../../test/support/known-hosts';
import type { DecideStep } from './placement-steps';
import { ReceiptLog } from './receipt-log';
import { receiptOf, VERDICTS_MOST } from './receipt-of';
import { ReceiptReader } from './receipt-reader';

const logger = pino({ level: 'silent' });
const HOSTS = 12;
const TENANTS = ['a', 'b', 'c', 'd'];

/** A fleet that changes all the time, and what is decided on it, explained at once. */
class BusyFleet {
  readonly book = new HostBook(() => undefined);
  readonly log: ReceiptLog;
  readonly decider: Decider;
  /** What each decision was when it was made, without its id. */
  readonly made: { expected: Receipt; id: Promise<string> }[] = [];
  #now = 1_000_000;

  constructor(
    readonly random: SeededRandom,
    journal: Pick<Journal<ReceiptMessage>, 'append'>,
    instance: string,
  ) {
    // Beginnings in several parts, with decisions between them.
    this.log = new ReceiptLog(journal, this.book, instance, logger, { partHosts: 5 });
    const explained = {
      catchUp: () => this.log.catchUp(),
      append: (step: DecideStep) => this.log.append(step),
    };
    this.decider = new Decider(this.book, explained, () => this.#now);
    for (let i = 0; i < HOSTS; i++) this.book.heardOf(this.#life(`h${i}`));
  }

  #life(hostId: string): HostLife {
    return readyHost(hostId, { labels: { zone: `z${hostId.length}` } });
  }

  step(): void {
    const { random, book } = this;
    const hostId = `h${random.int(0, HOSTS)}`;
    this.#now += random.int(0, 40);
    if (random.chance(0.5)) return this.#decide();
    if (random.chance(0.03)) return book.heardOf(afterEvents(this.#life(hostId), { type: 'cordonRequested' }));
    if (random.chance(0.06)) return book.heardOf(this.#life(hostId));
    if (random.chance(0.02)) return book.heardOf(readyHost(`new-${this.#now}`));
    book.reported(
      reportOf(hostId, {
        headroom: { slots: random.int(0, 4), vcpus: random.int(0, 8), memoryMiB: random.int(0, 200) },
        cpuSome: random.int(0, 100),
        occupancy: {
          tenants: [
            { tenant: random.pick(TENANTS), microvms: 2 },
            { tenant: 'z', microvms: 1, coresidency: { mode: 'shared', neverWith: [random.pick(TENANTS)] } },
          ],
          groups: random.chance(0.3) ? [{ group: 'a app=web', microvms: 1 }] : [],
          images: [],
          answered: [],
        },
      }),
      this.#now,
    );
  }

  #decide(): void {
    const { random, book } = this;
    const asked = askedFor(
      `m${this.made.length}`,
      {
        tenant: random.pick(TENANTS),
        memoryMiB: random.int(2, 120),
        labels: { app: 'web' },
        ...(random.chance(0.3) ? { placement: { antiAffinity: ['app'], hostLabels: { zone: 'z2' } } } : {}),
      },
      { mode: random.chance(0.1) ? 'dedicated' : 'shared', neverWith: [] },
    );
    const before = book.table.copy();
    let step: DecideStep | undefined;
    const append = this.log.append.bind(this.log);
    this.log.append = (one) => append((step = one));
    const made = this.decider.decide(asked);
    this.log.append = append;
    this.made.push({
      expected: receiptOf('', step!, before, { hosts: 1_000 }),
      id: made.stored.then(({ id }) => id),
    });
  }
}

describeWithNats('receipts', () => {
  let server: NatsServer;
  let nats: NatsConnection;
  let journal: Journal<ReceiptMessage>;

  beforeAll(async () => {
    server = await startNatsServer();
    nats = await connectNats({ servers: server.url, name: 'test' });
    journal = await openReceiptJournal(nats, ({ error }) => {
      throw error;
    });
  });
  afterAll(async () => {
    await nats?.close();
    await server?.stop();
  });

  it('say of every decision what was known and decided at that moment, from what is stored alone', async () => {
    const seed = Date.now() % 1_000_000;
    process.stdout.write(`receipts: seed ${seed}\n`);
    // Two that decide at the same time do not get into each other's way.
    const random = new SeededRandom(seed);
    const fleets = [1, 2].map((n) => new BusyFleet(new SeededRandom(seed + n), journal, `instance-${n}`));
    for (let i = 0; i < 1_500; i++) {
      for (const fleet of fleets) fleet.step();
      if (i % 10 === 0) await fleets[random.int(0, 2)]!.made.at(-1)?.id;
    }
    const reader = new ReceiptReader(await openReceiptJournal(nats, () => undefined));
    let chosen = 0;
    for (const { made } of fleets) {
      const ids = await Promise.all(made.map(({ id }) => id));
      expect(new Set(ids).size).toBe(made.length);
      // Every seventh, and the last: reading goes back to the beginning of a chain each time.
      for (let i = made.length - 1; i >= 0; i -= 7) {
        const [read] = await reader.read([ids[i]!]);
        expect(read).toEqual({ ...made[i]!.expected, id: ids[i] });
        const verdicts = read!.hosts.filter(({ verdict }) => verdict === 'chosen');
        expect(verdicts.map(({ hostId }) => hostId)).toEqual(read!.hostId === null ? [] : [read!.hostId]);
        if (read!.hostId !== null) chosen++;
      }
    }
    expect(chosen).toBeGreaterThan(5);
    const decisions = fleets.reduce((sum, { made }) => sum + made.length, 0);
    expect(await journal.lastSequence()).toBeLessThan(decisions / 2);
  }, 60_000);

  it('are not told when their message could not be stored, and what builds on it is decided anew', async () => {
    let fail = true;
    const failing: Pick<Journal<ReceiptMessage>, 'append'> = {
      append: (...args) => (fail ? Promise.reject(new Error('no disk')) : journal.append(...args)),
    };
    const fleet = new BusyFleet(new SeededRandom(7), failing, 'instance-3');
    for (let i = 0; i < 40; i++) fleet.step();
    const outcomes = await Promise.allSettled(fleet.made.map(({ id }) => id));
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['rejected']));
    fail = false;
    const failed = fleet.made.length;
    for (let i = 0; i < 40; i++) fleet.step();
    const reader = new ReceiptReader(journal);
    for (const { id, expected } of fleet.made.slice(failed)) {
      expect(await reader.read([await id])).toEqual([{ ...expected, id: await id }]);
    }
  });

  it('are left out when they are not there, and tell of no more hosts than fit, the newest first', async () => {
    const reader = new ReceiptReader(journal);
    expect(await reader.read(['999999.0', '1.999999', 'an id of before', ''])).toEqual([]);
    const fleet = new BusyFleet(new SeededRandom(3), journal, 'instance-4');
    for (let i = 0; i < VERDICTS_MOST - 100; i++) fleet.book.heardOf(readyHost(`more-${i}`));
    while (fleet.made.length < 2) fleet.step();
    const ids = await Promise.all(fleet.made.map(({ id }) => id));
    const [older, newer] = await reader.read(ids);
    const { size } = fleet.book.table;
    expect([newer!.omitted, newer!.hosts.length]).toEqual([0, size]);
    expect(older!.omitted).toBeGreaterThan(0);
    expect(older!.hosts.length).toBe(VERDICTS_MOST - size);
    expect(JSON.stringify({ receipts: [older, newer] }).length).toBeLessThan(1024 * 1024);
  });
});
