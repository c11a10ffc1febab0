import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostJournal } from './host-journal';

/**
 * Journals outlive the agents that wrote them. A file in `recorded` is never changed; when the format grows, another one is added.
 */
describe('a journal of an older agent', () => {
  let directory: string;
  const complaints: string[] = [];
  const log = {
    warn: (_: object, message: string) => void complaints.push(message),
    error: (_: object, message: string) => void complaints.push(message),
  };
  const open = (compactAbove = 20_000) =>
    HostJournal.open({ directory, now: () => 1_800_000_000_000, log, onSyncFailure: () => undefined, compactAbove });

  beforeEach(() => {
    complaints.length = 0;
    directory = mkdtempSync(join(tmpdir(), 'volley-recorded-'));
    copyFileSync(join(__dirname, 'recorded/journal-1'), join(directory, 'journal'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const id = (number: number): string => `01m8c5ft9qt07bac2a03w3sx0${number}`;

  it('is read whole: what runs, what never may again, what is still to be done and told', async () => {
    const journal = open();
    const { incarnations, fences, answers, outbox } = journal.state;
    const summary = [...incarnations.values()].map(({ microvmId, phase, slot, identity, pending, erasing }) => {
      return [Number(microvmId.slice(-2)), phase, slot, identity?.pid, pending.map(({ type }) => type), erasing];
    });
    expect(summary).toEqual([
      [1, 'running', 1, 4_001, [], undefined],
      [2, 'paused', 2, 4_002, ['resume'], undefined],
      [3, 'running', 3, 4_003, ['stop'], undefined],
      [4, 'ended', 4, 4_004, [], undefined],
      [7, 'launched', 7, 4_007, [], undefined],
      [8, 'admitted', 8, undefined, [], undefined],
      [9, 'running', 9, 4_009, [], 2],
    ]);
    expect(incarnations.get(id(1))).toMatchObject({
      spec: { tenant: 'umbrella', onHostLoss: 'reschedule' },
      coresidency: { mode: 'dedicated', neverWith: ['acme'] },
      oomKills: 2,
      identity: { startTicks: '90001' },
    });
    expect(incarnations.get(id(3))).toMatchObject({ metadata: { key: 'changed' } });
    expect(incarnations.get(id(4))).toMatchObject({ exit: { reason: 'fenced' }, spec: { disks: [{ sizeMiB: 16 }] } });
    expect([...fences]).toEqual([
      [id(5), 1],
      [id(6), 3],
      [id(9), 2],
    ]);
    expect(answers.size).toBe(11);
    expect(answers.get('start-6')).toEqual({ accepted: false, reason: 'epoch 3 is over on this host' });
    expect([...outbox.keys()]).toEqual(
      ['2-1-started', '3-1-started', '4-1-started', '4-1-exited', '9-1-started'].map(
        (end) => `${id(0).slice(0, -1)}${end}`,
      ),
    );
    expect(complaints).toEqual([]);
    await journal.close();
  });

  it('is gone on with, and means the same when it was rewritten', async () => {
    const before = open();
    const state = structuredClone(before.state);
    await before.close();
    const rewriting = open(-100);
    rewriting.append({ acked: ['nothing'] });
    expect(rewriting.recordCount).toBeLessThan(28);
    await rewriting.close();
    const after = open();
    expect(after.state).toEqual(state);
    expect(complaints).toEqual([]);
    await after.close();
  });
});
