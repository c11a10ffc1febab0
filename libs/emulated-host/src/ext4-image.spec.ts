import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeExt4Disk, writeExt4Image } from './ext4-image';
import { findProgram } from './find-program';

const debugfs = findProgram('debugfs');
const suite = debugfs === undefined ? describe.skip : describe;
if (debugfs === undefined)
  process.stderr.write('SKIPPED: ext4 images: debugfs is missing (Debian package e2fsprogs)\n');

suite('an ext4 image', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-ext4-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const ask = (image: string, request: string): string =>
    execFileSync(debugfs!, ['-R', request, image], { encoding: 'utf8', stdio: 'pipe', timeout: 30_000 });

  it('holds what it was given, also below links, and what was added at the end', async () => {
    const image = join(folder, 'image');
    await writeExt4Image(
      image,
      [
        { path: '/usr/bin', folder: true },
        { path: '/bin', linkTo: 'usr/bin' },
        { path: '/bin/tool', mode: 0o755, content: 'a tool' },
        { path: '/twice', content: 'first' },
        { path: '/twice', content: 'second' },
        { path: '/secret', mode: 0o600, content: 'hush' },
      ],
      async (root) => writeFileSync(join(root, 'added'), 'more'),
    );
    expect(ask(image, 'cat /usr/bin/tool')).toBe('a tool');
    expect(ask(image, 'stat /usr/bin/tool')).toMatch(/Mode: +0755/);
    expect(ask(image, 'stat /bin')).toContain('Fast link dest: "usr/bin"');
    expect(ask(image, 'cat /twice')).toBe('second');
    expect(ask(image, 'stat /secret')).toMatch(/Mode: +0600/);
    expect(ask(image, 'cat /added')).toBe('more');
    expect(readdirSync(folder)).toEqual(['image']);
  });

  it('leaves nothing behind when it cannot be made', async () => {
    const entries = [{ path: '/x', from: join(folder, 'not-there') }];
    await expect(writeExt4Image(join(folder, 'image'), entries)).rejects.toThrow('not-there');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('to write to takes no room until something is written, and is kept', async () => {
    const disk = join(folder, 'disk');
    await makeExt4Disk(disk, 4_096);
    const { size, blocks, ino } = statSync(disk);
    expect(size).toBe(4_096 * 2 ** 20);
    expect(blocks * 512).toBeLessThan(64 * 2 ** 20);
    await makeExt4Disk(disk, 8_192);
    expect(statSync(disk)).toMatchObject({ size, ino });
    expect(readdirSync(folder)).toEqual(['disk']);
  });
});
