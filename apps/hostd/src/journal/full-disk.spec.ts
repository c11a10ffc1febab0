import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mountTightDisk, tightDiskMissing, type TightDisk } from '#chaos';
import { Chronicle } from '../microvms/chronicle';
import { HostJournal } from './host-journal';

const missing = tightDiskMissing();
if (missing) process.stderr.write(`SKIPPED: a journal on a full disk: ${missing}\n`);

(missing ? describe.skip : describe)('a journal on a full disk', () => {
  let folder: string;
  let disk: TightDisk;
  let journal: HostJournal;
  let fatal: Error[];
  let chronicle: Chronicle;
  const errors: string[] = [];
  const fence = (epoch: number) => ({ change: { type: 'fenced' as const, microvmId: 'vm', epoch } });
  const open = (): HostJournal =>
    HostJournal.open({
      directory: disk.path,
      now: () => 1,
      log: { warn: () => undefined, error: (_, message) => errors.push(message) },
      onSyncFailure: (error) => fatal.push(error),
    });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-full-disk-'));
    disk = mountTightDisk(join(folder, 'disk'), 24 << 20);
    fatal = [];
    errors.length = 0;
    journal = open();
    chronicle = new Chronicle(journal, (error) => fatal.push(error));
  });
  afterEach(async () => {
    await journal.close();
    disk.unmount();
    rmSync(folder, { recursive: true, force: true });
  });

  it('takes what happened, not what is to begin, and everything again when there is room', () => {
    expect(journal.noRoom).toBeUndefined();
    disk.fill(4 << 20);
    expect(journal.noRoom).toMatch(/disk of this host is full: 4 MiB are free at .*16 MiB are kept.*; free some$/);
    disk.fill();
    let epoch = 0;
    const begin = (): void => void chronicle.accept('c', { accepted: true }, fence(++epoch), 'room');
    // The last page of the file takes some.
    expect(() => Array.from({ length: 1_000 }, begin)).toThrow(/takes no orders.*no space left/);
    for (let n = 0; n < 3_000; n++) expect(chronicle.record(fence(++epoch))).toBe(true);
    expect(errors).toEqual([expect.stringContaining('lives on its reserve')]);
    expect(fatal).toEqual([]);
    expect(open().state.fences.get('vm')).toBe(epoch);
    disk.free();
    expect(journal.noRoom).toBeUndefined();
    begin();
    disk.fill();
    expect(chronicle.record(fence(++epoch))).toBe(true);
    expect(fatal).toEqual([]);
  });

  it('says so and ends when its reserve is used up', () => {
    disk.fill();
    for (let epoch = 1; chronicle.record(fence(epoch)); epoch++) expect(epoch).toBeLessThan(100_000);
    expect(fatal).toEqual([expect.objectContaining({ code: 'ENOSPC' })]);
  });

  it('refuses a start twice with the same answer, written or not', () => {
    disk.fill();
    for (let n = 0; n < 200; n++) chronicle.refuseForRoom(`c${n}`, 'no room');
    const last = chronicle.refuseForRoom('last', 'no room');
    expect(last).toEqual({ accepted: false, reason: 'no room' });
    expect(journal.state.answers.get('last')).toBeUndefined();
    expect(chronicle.unwritten('last')).toEqual(last);
    const written = journal.state.answers.get('c0') ?? chronicle.unwritten('c0');
    expect(written).toMatchObject(last);
  });
});
