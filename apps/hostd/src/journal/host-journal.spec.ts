import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { MicrovmSpec } from '#protocol';
import { HostJournal, JournalWriteError } from './host-journal';
import type { HostRecord } from './host-record';
import { emptyHostState, foldRecord, snapshotRecords } from './host-state';

const spec = MicrovmSpec.parse({ image: 'canary' });
const ids = ['vm-a', 'vm-b', 'vm-c'];

/** Any record, sensible or not: the fold must take them all. */
const anyRecord: fc.Arbitrary<Omit<HostRecord, 'at'>> = fc
  .record({
    microvmId: fc.constantFrom(...ids),
    epoch: fc.integer({ min: 1, max: 4 }),
    n: fc.nat(20),
    kind: fc.nat(12),
  })
  .map(({ microvmId, epoch, n, kind }): Omit<HostRecord, 'at'> => {
    const of = { microvmId, epoch };
    const fact = { factId: `f${n}`, microvmId, at: n, fact: { type: 'erased', hostId: 'h', epoch } as const };
    switch (kind) {
      case 0:
        return {
          change: { type: 'admitted', ...of, spec, receivedAt: 1, admittedAt: 2 },
          answer: { commandId: `c${n}`, accepted: true },
        };
      case 1:
        return {
          change: { type: 'launched', ...of, identity: { pid: n, startTicks: '1', bootId: 'b', directory: '/d' } },
        };
      case 2:
        return { change: { type: 'running', ...of }, facts: [fact] };
      case 3:
        return { change: { type: 'paused', ...of }, done: { ...of, commandId: `c${n}` } };
      case 4:
        return { change: { type: 'ended', ...of, exit: { reason: 'panic', message: '', at: n } }, facts: [fact] };
      case 5:
        return { change: { type: 'erasing', ...of, upTo: epoch + (n % 2) } };
      case 6:
        return { change: { type: 'gone', ...of }, facts: [fact] };
      case 7:
        return { change: { type: 'fenced', ...of } };
      case 8:
        return {
          pending: { ...of, command: { type: 'stop', commandId: `c${n}`, killAt: n } },
          answer: { commandId: `c${n}`, accepted: false, reason: 'no' },
        };
      case 10:
        return { policy: { hostClass: `class-${epoch}`, revision: n, settings: null } };
      case 11:
        return { guardActs: { factId: `f${n}`, acts: [], omitted: n } };
      case 9:
        return { acked: [`f${n}`, `f${n + 1}`] };
      default:
        return { pending: { ...of, command: { type: 'pause', commandId: `c${n}` } } };
    }
  });

const plain = (state: HostJournal['state']) => ({
  incarnations: new Map(state.incarnations),
  fences: new Map(state.fences),
  answers: new Map(state.answers),
  outbox: [...state.outbox],
  guardActs: [...state.guardActs],
  policy: state.policy,
});

describe('host state', () => {
  it('is the same after compaction', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { maxLength: 80 }), (records) => {
        const state = emptyHostState();
        for (const record of records) foldRecord(state, { at: 0, ...record });
        const again = emptyHostState();
        for (const record of snapshotRecords(state, 0))
          foldRecord(again, JSON.parse(JSON.stringify(record)) as HostRecord);
        expect(plain(again)).toEqual(plain(state));
      }),
    );
  });

  it('never lowers a fence', () => {
    fc.assert(
      fc.property(fc.array(anyRecord), (records) => {
        const state = emptyHostState();
        for (const record of records) {
          const before = new Map(state.fences);
          foldRecord(state, { at: 0, ...record });
          for (const [id, epoch] of before) expect(state.fences.get(id)).toBeGreaterThanOrEqual(epoch);
        }
      }),
    );
  });
});

describe('host journal', () => {
  let directory: string;
  let path: string;
  const warnings: string[] = [];
  const log = {
    warn: (_: object, message: string) => void warnings.push(message),
    error: (_: object, message: string) => void warnings.push(message),
  };
  const open = (compactAbove = 20_000) =>
    HostJournal.open({
      directory,
      now: () => 1_000,
      log,
      onSyncFailure: (error) => {
        throw error;
      },
      compactAbove,
    });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'volley-journal-'));
    path = join(directory, 'journal');
    warnings.length = 0;
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const samples = fc.sample(anyRecord, { numRuns: 40, seed: 7 });

  it('holds everything when the process ends without a word', () => {
    const journal = open();
    for (const record of samples) journal.append(record);
    // no close: this is what SIGKILL leaves
    expect(plain(open().state)).toEqual(plain(journal.state));
    expect(warnings).toEqual([]);
  });

  it('cuts a torn tail at every byte, keeps the records before it, and goes on', async () => {
    const journal = open();
    for (const record of samples.slice(0, 3)) journal.append(record);
    await journal.close();
    const before = statSync(path).size;
    const again = open();
    again.append(samples[3]!);
    await again.close();
    const whole = readFileSync(path);
    for (let length = before + 1; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const torn = open();
      expect(plain(torn.state)).toEqual(plain(journal.state));
      expect(warnings.pop()).toMatch(/torn tail/);
      torn.append(samples[3]!);
      await torn.close();
      expect(plain(open().state)).toEqual(plain(again.state));
      for (const name of readdirSync(directory)) if (name.includes('.cut-')) rmSync(join(directory, name));
    }
  });

  it('keeps what it cuts from a damaged middle, and says so', async () => {
    const journal = open();
    for (const record of samples.slice(0, 5)) journal.append(record);
    await journal.close();
    const data = readFileSync(path);
    const secondRecord = data.indexOf(0x0a) + 1;
    data[secondRecord + 30] = data[secondRecord + 30]! ^ 0xff;
    writeFileSync(path, data);
    open();
    expect(warnings.pop()).toMatch(/damaged/);
    const aside = readdirSync(directory).find((name) => name.includes('.cut-'))!;
    expect(readFileSync(join(directory, aside)).length).toBe(data.length - secondRecord);
    expect(statSync(path).size).toBe(secondRecord);
  });

  it('is rewritten when most of it is history, without losing anything, during syncs too', async () => {
    const journal = open(50);
    const reference = emptyHostState();
    for (let i = 0; i < 2_000; i++) {
      const record = samples[i % samples.length]!;
      journal.append(record);
      foldRecord(reference, { at: 0, ...record });
      if (i % 100 === 0) await new Promise(setImmediate);
    }
    await journal.close();
    expect(journal.recordCount).toBeLessThan(200);
    expect(plain(open().state)).toEqual(plain(reference));
    expect(readdirSync(directory).sort()).toEqual(['journal', 'journal.reserve']);
  });

  it('throws away a rewrite that was interrupted', () => {
    const journal = open();
    journal.append(samples[0]!);
    writeFileSync(`${path}.new`, 'half a');
    expect(plain(open().state)).toEqual(plain(journal.state));
    expect(readdirSync(directory).sort()).toEqual(['journal', 'journal.reserve']);
  });

  it('refuses records after its end', async () => {
    const journal = open();
    await journal.close();
    expect(() => journal.append(samples[0]!)).toThrow(JournalWriteError);
    truncateSync(path, 0);
  });
});
