import { mkdtempSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeLog, openLog, rotateLog } from './log-file';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-log-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('rotates past the limit while the writer keeps its descriptor, and keeps three old files', () => {
  const file = join(folder, 'a.log');
  const log = openLog(file);
  for (let i = 0; i < 6; i++) {
    writeSync(log, `${i}`.repeat(20));
    expect(rotateLog(file, 10)).toBe(true);
  }
  writeSync(log, 'now');
  expect(rotateLog(file, 10)).toBe(false);
  closeLog(log);
  expect(readdirSync(folder).sort()).toEqual(['a.log', 'a.log.1', 'a.log.2', 'a.log.3']);
  expect(readFileSync(file, 'utf8')).toBe('now');
  expect(readFileSync(`${file}.1`, 'utf8')).toBe('5'.repeat(20));
  expect(readFileSync(`${file}.3`, 'utf8')).toBe('3'.repeat(20));
});

it('has nothing to do for a log that is not there', () => {
  expect(rotateLog(join(folder, 'none.log'))).toBe(false);
});
