import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { MicrovmSpec, sortableId } from '#protocol';
import { findTool } from '../network/tools';
import { keepsDisks, largestFileBytes, planDisks, type PlannedDisk } from './disk-plan';
import { Disks } from './disks';

const MIB = 1024 * 1024;
const vm = sortableId(1_700_000_000_000, Buffer.alloc(10, 1));
const other = sortableId(1_700_000_000_000, Buffer.alloc(10, 2));
const raw: PlannedDisk = { name: 'disk0', sizeMiB: 64, formatted: false };
const formatted: PlannedDisk = { name: 'root', sizeMiB: 32, formatted: true, mount: '/' };

describe('disks of microVMs', () => {
  let directory: string;
  let disks: Disks;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'volley-disks-'));
    disks = new Disks({ directory, log: pino({ level: 'silent' }), leastFreeMiB: 1 });
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('are planned as the spec says', () => {
    const spec = MicrovmSpec.parse({
      image: 'alpine:3',
      disks: [{ sizeMiB: 10 }, { sizeMiB: 20, mount: '/data', limit: { bytesPerSecond: 5 } }],
    });
    expect(planDisks(spec, true)).toEqual({
      overlay: { name: 'root', sizeMiB: 1_024, formatted: true },
      data: [
        { name: 'disk0', sizeMiB: 10, formatted: false },
        { name: 'disk1', sizeMiB: 20, formatted: true, mount: '/data', limit: { bytesPerSecond: 5 } },
      ],
    });
    expect(keepsDisks(spec)).toBe(true);
    expect(keepsDisks(MicrovmSpec.parse({ image: 'canary' }))).toBe(false);
    expect(largestFileBytes({ data: [raw] }, 2)).toBeGreaterThan(64 * MIB);
    expect(largestFileBytes({ data: [] }, 512)).toBeGreaterThan(512 * MIB);
  });

  it('are sparse, kept from start to start, and removed with their microVM', async () => {
    const first = await disks.prepare(vm, raw);
    expect(first).toMatchObject({ sizeBytes: 64 * MIB, readOnly: false });
    expect(statSync(first.path).blocks).toBe(0);
    writeFileSync(first.path, 'written', { flag: 'r+' });
    expect(await disks.prepare(vm, raw)).toEqual(first);
    expect(statSync(first.path).blocks).toBeGreaterThan(0);
    expect(disks.list()).toEqual([vm]);
    await disks.remove(vm);
    expect(disks.list()).toEqual([]);
  });

  it('are not changed in size behind the back of their guest', async () => {
    await disks.prepare(vm, raw);
    await expect(disks.prepare(vm, { ...raw, sizeMiB: 65 })).rejects.toThrow(
      /made with 64 MiB, and 65 MiB are asked for/,
    );
  });

  it('refuse to begin when the host has hardly any space left', async () => {
    const full = new Disks({ directory, log: pino({ level: 'silent' }), leastFreeMiB: 2 ** 40 });
    await expect(full.prepare(vm, raw)).rejects.toThrow(
      /disk0 of 64 MiB could not be made ready: the disk of this host is full/,
    );
  });

  (findTool('mkfs.ext4') ? it : it.skip)(
    'share one formatted template, which lasts as long as a disk needs it',
    async () => {
      const [one, two] = await Promise.all([disks.prepare(vm, formatted), disks.prepare(other, formatted)]);
      if (!('overlayPath' in one)) throw new Error('no overlay');
      expect(one).toMatchObject({
        sizeBytes: 32 * MIB,
        overlayPath: expect.stringMatching(/root\.overlay$/) as string,
      });
      expect(existsSync(one.overlayPath)).toBe(false);
      expect(statSync(one.path).ino).toBe(statSync(two.path).ino);
      execFileSync(findTool('fsck.ext4')!, ['-n', '-f', one.path], { stdio: 'ignore' });
      const template = join(directory, 'templates', 'ext4-32.img');
      rmSync(template);
      expect(await disks.prepare(vm, formatted)).toEqual(one);
      const third = await disks.prepare('third', formatted);
      expect(statSync(third.path).ino).not.toBe(statSync(one.path).ino);
      expect(readdirSync(join(directory, 'templates'))).toEqual(['ext4-32.img']);
      expect(statSync(template).blocks * 512).toBeLessThan(8 * MIB);
    },
  );

  it('tell a host that is really full from other trouble', async () => {
    if (process.getuid?.() !== 0) return process.stderr.write('SKIPPED: a full disk: not root\n');
    const mount = join(directory, 'small');
    execFileSync('mkdir', [mount]);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', mount], { stdio: 'ignore' });
    } catch {
      return process.stderr.write('SKIPPED: a full disk: no right to mount\n');
    }
    try {
      const small = new Disks({ directory: mount, log: pino({ level: 'silent' }), leastFreeMiB: 0 });
      writeFileSync(join(mount, 'filler'), Buffer.alloc(4 * MIB - 65_536));
      await expect(small.prepare(vm, { ...formatted, sizeMiB: 256 })).rejects.toThrow(/could not be made ready/);
      expect(readdirSync(join(mount, 'templates'))).toEqual([]);
    } finally {
      execFileSync('umount', [mount]);
    }
    return undefined;
  });
});
