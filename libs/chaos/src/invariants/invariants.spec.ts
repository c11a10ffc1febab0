import { checkHistories, type StoredRecord } from './check-histories';
import { checkHosts } from './check-hosts';

let sequence = 0;

function history(id: string, ...steps: [to: string, event: string, epoch?: number][]): StoredRecord[] {
  let from: string | null = null;
  return steps.map(([to, type, epoch], i) => {
    const record = {
      microvmId: id,
      commandId: `${id}.${i}`,
      at: i,
      from,
      to,
      events: [{ type, ...(epoch === undefined ? {} : { hostId: 'h', epoch }) }],
    };
    from = to;
    return { subject: `volley.history.microvm.1.${id}`, sequence: ++sequence, record };
  });
}

const good = () =>
  history(
    'a',
    ['placing', 'requested'],
    ['starting', 'placed', 1],
    ['running', 'started', 1],
    ['stopping', 'stopRequested'],
    ['stopped', 'exited', 1],
  );
const rules = (records: StoredRecord[]) => checkHistories(records).violations.map(({ rule }) => rule);

describe('checking histories', () => {
  it('finds nothing wrong with a good one', () => {
    expect(checkHistories(good())).toEqual({
      violations: [],
      endings: [{ id: 'a', state: 'stopped', hostId: 'h', epoch: 1, sequence: 5 }],
    });
  });

  // A checker that cannot fail proves nothing: each violation is planted once.
  it.each<[string, string, (records: StoredRecord[]) => void]>([
    ['S1', 'a fact of another epoch', (r) => (r[2]!.record.events[0]!.epoch = 2)],
    ['S1', 'a fact of another host', (r) => (r[2]!.record.events[0]!.hostId = 'x')],
    ['S5', 'a command twice', (r) => (r[3]!.record.commandId = r[2]!.record.commandId)],
    ['S9', 'a jump', (r) => r.splice(2, 1)],
    ['S9', 'an illegal move', (r) => (r[4]!.record.to = 'running')],
    ['S9', 'a record on a foreign subject', (r) => (r[1]!.subject = 'volley.history.microvm.1.b')],
  ])('reports %s for %s', (rule, _, plant) => {
    const records = good();
    plant(records);
    expect(rules(records)).toContain(rule);
  });

  it('passes over a record that was overtaken, and over no other that does not fit', () => {
    const records = good();
    const last = records[3]!.sequence;
    const late = { ...records[3]!, sequence: last + 0.5, record: { ...records[2]!.record, commandId: 'late' } };
    expect(rules([...records.slice(0, 4), { ...late, expected: last - 1 }, records[4]!])).toEqual([]);
    expect(rules([...records.slice(0, 4), { ...late, expected: last }, records[4]!])).toContain('S9');
  });

  it('lets a record change what is no state', () => {
    const records = history(
      'p',
      ['placing', 'requested'],
      ['placing', 'protectionSet'],
      ['starting', 'placed', 1],
      ['running', 'started', 1],
      ['running', 'tuned', 1],
      ['running', 'resumeRequested'],
    );
    expect(rules(records)).toEqual(['S9']);
    expect(rules(records.slice(0, -1))).toEqual([]);
  });

  it('reports life after deletion as S7', () => {
    const records = [
      ...history('d', ['placing', 'requested'], ['deleted', 'deleteRequested'], ['placing', 'startRequested']),
    ];
    expect(rules(records)).toContain('S7');
  });
});

describe('checking hosts', () => {
  const running = { id: 'r', state: 'running', hostId: 'h', epoch: 1, sequence: 1 };
  const stopped = { id: 's', state: 'stopped', hostId: 'h', epoch: 1, sequence: 2 };
  const process = { pid: 1, microvmId: 'r', epoch: 1 };

  it('finds nothing wrong when both agree', () => {
    expect(checkHosts([running, stopped], [process], ['r', 's'])).toEqual([]);
  });

  it.each([
    ['S1', [running], [process, { ...process, pid: 2 }], ['r']],
    ['S1', [running], [{ ...process, epoch: 2 }], ['r']],
    ['S2', [running], [], ['r']],
    ['S2', [running], [process], ['r', 'lost']],
    ['S3', [stopped], [{ pid: 3, microvmId: 's', epoch: 1 }], ['s']],
    ['S3', [], [{ pid: 3, microvmId: 'nobody', epoch: 1 }], []],
    ['L1', [{ ...running, state: 'stopping' }], [process], ['r']],
  ])('reports %s', (rule, endings, found, accepted) => {
    expect(checkHosts(endings, found, accepted).map((violation) => violation.rule)).toEqual([rule]);
  });
});
