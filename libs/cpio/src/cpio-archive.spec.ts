import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArchiveEntryError, cpioArchive, writeCpioArchive, type ArchiveEntry } from '.';

describe('a cpio archive', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-cpio-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const ENTRIES: ArchiveEntry[] = [
    { path: '/bin/tool', mode: 0o755, content: '#!/bin/sh\n' },
    { path: '/bin/sh', linkTo: 'tool' },
    { path: '/empty', folder: true },
    { path: '/closed', folder: true, mode: 0o700 },
    { path: '/closed/odd', content: new Uint8Array([0, 1, 2]) },
  ];

  /** Unpacked by busybox: code that is not ours. */
  const unpacked = (entries: readonly ArchiveEntry[]): string => {
    const target = join(folder, 'out');
    execFileSync('mkdir', [target]);
    execFileSync('busybox', ['cpio', '-idm'], {
      cwd: target,
      input: cpioArchive(entries),
      stdio: 'pipe',
      timeout: 30_000,
    });
    return target;
  };

  it('holds files, links and folders as they were given', () => {
    const target = unpacked(ENTRIES);
    expect(readFileSync(join(target, 'bin/tool'), 'utf8')).toBe('#!/bin/sh\n');
    expect(statSync(join(target, 'bin/tool')).mode & 0o777).toBe(0o755);
    expect(readlinkSync(join(target, 'bin/sh'))).toBe('tool');
    expect(lstatSync(join(target, 'empty')).isDirectory()).toBe(true);
    expect(statSync(join(target, 'closed')).mode & 0o777).toBe(0o700);
    expect([...readFileSync(join(target, 'closed/odd'))]).toEqual([0, 1, 2]);
  });

  it('is the same bytes for the same entries, in a file or in memory, and whole blocks', () => {
    writeFileSync(join(folder, 'source'), 'from a file');
    const entries = [...ENTRIES, { path: '/copy', from: join(folder, 'source') }];
    writeCpioArchive(join(folder, 'archive'), entries);
    const bytes = readFileSync(join(folder, 'archive'));
    expect(bytes.equals(cpioArchive(entries))).toBe(true);
    expect(bytes.length % 512).toBe(0);
  });

  it('takes no path that leads out of it', () => {
    for (const path of ['bin/tool', '/../x', '/', '/a/../../b', '/a\0b']) {
      expect(() => cpioArchive([{ path, content: '' }])).toThrow(ArchiveEntryError);
    }
  });
});
