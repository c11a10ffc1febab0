import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { journalLine, readJournal } from './read-journal';

describe('reading the journal of a host', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-journal-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const read = (text: string) => {
    writeFileSync(join(folder, 'journal'), text);
    const { records, damagedInside } = readJournal(join(folder, 'journal'));
    return { ats: records.map(({ at }) => at), damagedInside };
  };
  const line = (at: number): string => journalLine({ at, change: { type: 'ended', microvmId: 'ä', epoch: 1 } });

  it('gives what is whole', () => {
    expect(read(line(1) + line(2))).toEqual({ ats: [1, 2], damagedInside: 0 });
  });

  it('leaves a torn tail out, which is no damage', () => {
    expect(read(line(1) + line(2).slice(0, -5))).toEqual({ ats: [1], damagedInside: 0 });
  });

  it('tells of damage that whole records follow', () => {
    expect(read(line(1) + line(2).replace('ended', 'endet') + line(3))).toEqual({ ats: [1, 3], damagedInside: 1 });
  });

  it('is read as the host agent writes it', () => {
    // Taken from a journal as it lay on a disk.
    const written = '00000045 cb31aa1c {"at":1795705315197,"acked":["01m8c617tfnwtmv6qg4dv48nf1-1-started"]}\n';
    expect(read(written)).toEqual({ ats: [1795705315197], damagedInside: 0 });
  });
});
