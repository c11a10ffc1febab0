import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { slotOf } from '../slots/slot-layout';
import { Cgroups } from './cgroups';
import { parseHierarchies, type Controller, type Hierarchy } from './hierarchies';
import { filesOf, limitsOf } from './slot-limits';

const log = pino({ level: 'silent' });
const slot = slotOf(3, { uidBase: 200_000, pool: { base: 0x64400000, prefix: 16 } });

describe('cgroup hierarchies', () => {
  const V1 = [
    '30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw',
    '31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct',
    '32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
    '33 30 0:29 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio',
    '34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    '35 30 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
  ].join('\n');

  it('are found on a host with v1, or with both', () => {
    const own = '4:memory:/user/one\n3:cpu,cpuacct:/\n5:blkio:/\n1:name=systemd:/x\n0::/y\n';
    expect(parseHierarchies(V1, own)).toEqual([
      { version: 1, controllers: ['cpu'], mount: '/sys/fs/cgroup/cpu,cpuacct', own: '/sys/fs/cgroup/cpu,cpuacct/' },
      { version: 1, controllers: ['memory'], mount: '/sys/fs/cgroup/memory', own: '/sys/fs/cgroup/memory/user/one' },
      { version: 1, controllers: ['io'], mount: '/sys/fs/cgroup/blkio', own: '/sys/fs/cgroup/blkio/' },
      { version: 2, controllers: [], mount: '/sys/fs/cgroup/unified', own: '/sys/fs/cgroup/unified/y' },
    ]);
  });

  it('are found on a host with v2, and where only a part of it is mounted', () => {
    const mounts = '30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
    expect(parseHierarchies(mounts, '0::/system.slice/volley-hostd.service')[0]!.own).toBe(
      '/sys/fs/cgroup/system.slice/volley-hostd.service',
    );
    const part = '30 20 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
    expect(parseHierarchies(part, '0::/docker/abc/inner')[0]!.own).toBe('/sys/fs/cgroup/inner');
    expect(parseHierarchies('', '')).toEqual([]);
  });
});

describe('limits of a slot', () => {
  it('follow the spec', () => {
    expect(limitsOf({ memoryMiB: 128, vcpus: 2 })).toEqual({
      memoryBytes: 162 * 1024 * 1024,
      cpuWeight: 200,
      cpuPercent: 200,
      threads: 18,
      bestEffort: false,
    });
    const limits = limitsOf({ memoryMiB: 64, vcpus: 1, limits: { cpuPercent: 50, cpuWeight: 25 } });
    expect(filesOf(2, ['cpu', 'memory'], limits)).toEqual([
      { name: 'cpu.idle', value: '0', optional: true },
      { name: 'cpu.weight', value: '25' },
      { name: 'cpu.max', value: '50000 100000', optional: true },
      { name: 'memory.max', value: String(97 * 1024 * 1024) },
      { name: 'memory.low', value: String(97 * 1024 * 1024), optional: true },
    ]);
    expect(filesOf(1, ['cpu'], limits).map(({ value }) => value)).toEqual(['0', '256', '100000', '50000']);
    expect(filesOf(1, ['cpu'], limits, true)).toContainEqual({ name: 'cpu.shares', value: String(256 * 32) });
    const most = limitsOf({ memoryMiB: 64, vcpus: 64 });
    expect(filesOf(1, ['cpu'], most, true)).toContainEqual({ name: 'cpu.shares', value: '262144' });
  });

  it('leave what is of the class bestEffort the least weight and no protection', () => {
    const limits = limitsOf({ memoryMiB: 64, vcpus: 1, class: 'bestEffort' });
    expect(filesOf(2, ['cpu', 'memory'], limits)).toEqual([
      { name: 'cpu.idle', value: '0', optional: true },
      { name: 'cpu.weight', value: '1' },
      { name: 'cpu.idle', value: '1', optional: true },
      { name: 'cpu.max', value: '100000 100000', optional: true },
      { name: 'memory.max', value: String(97 * 1024 * 1024) },
      { name: 'memory.low', value: '0', optional: true },
    ]);
    expect(filesOf(1, ['cpu'], limits, true)).toContainEqual({ name: 'cpu.shares', value: '10' });
    expect(filesOf(1, ['memory'], limits)).toContainEqual({
      name: 'memory.soft_limit_in_bytes',
      value: '0',
      optional: true,
    });
  });
});

describe('cgroups of slots in a hierarchy of v1 that is for the CPU alone', () => {
  const root = mkdtempSync(join(tmpdir(), 'volley-cgroups-'));
  const hierarchy = (name: string, controllers: Controller[]): Hierarchy => ({
    ...{ version: 1, controllers, mount: join(root, name), own: join(root, name) },
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it('lie beside the group of the agent, so that each is weighed against processes of the host by its own class', () => {
    for (const [name, file] of [
      ['cpu', 'cpu.shares'],
      ['memory', 'memory.limit_in_bytes'],
    ] as const) {
      mkdirSync(join(root, name, 'volley-a'), { recursive: true });
      writeFileSync(join(root, name, 'volley-a', file), '');
    }
    const hierarchies = [hierarchy('cpu', ['cpu']), hierarchy('memory', ['memory'])];
    const cgroups = Cgroups.open({ name: 'a', log, hierarchies });
    expect(cgroups.pathsOf(slot)).toEqual([join(root, 'cpu/volley-a.s3'), join(root, 'memory/volley-a/s3')]);
    expect(cgroups.groupOf(slot).cpu?.directory).toBe(join(root, 'cpu/volley-a.s3'));
    const files = { 'memory.usage_in_bytes': 90, 'memory.stat': 'inactive_file 0\ntotal_inactive_file 30\n' };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, 'memory/volley-a', name), String(text));
    expect(cgroups.bound(100)).toBe(true);
    // What the groups below keep of files is dropped before anybody lacks memory.
    expect(cgroups.memory()).toEqual({ limitBytes: 100, availableBytes: 40 });
    expect(cgroups.list()).toEqual(['s3']);
    mkdirSync(join(root, 'cpu/volley-b.s7'));
    expect(cgroups.list()).toEqual(['s3']);
    expect(cgroups.destroyOf('b')).toBe(true);
    expect(existsSync(join(root, 'cpu/volley-b.s7'))).toBe(false);
    // What an agent of before had put inside its own group goes, too.
    mkdirSync(join(root, 'cpu/volley-c/s1'), { recursive: true });
    expect(cgroups.destroyOf('c')).toBe(true);
    expect(existsSync(join(root, 'cpu/volley-c'))).toBe(false);
    cgroups.remove(slot);
    expect(cgroups.list()).toEqual([]);
  });
});

const open = (name: string) => Cgroups.open({ name, log });
const writable = ((): boolean => {
  const cgroups = open(`try-${process.pid}`);
  cgroups.close();
  return cgroups.controllers.includes('memory') && cgroups.controllers.includes('pids');
})();
if (!writable)
  process.stderr.write('SKIPPED: cgroups of slots: no memory and pids controllers that this user may use\n');

(writable ? describe : describe.skip)('cgroups of slots', () => {
  let cgroups: Cgroups;
  beforeEach(() => (cgroups = open(`test-${process.pid}`)));
  afterEach(() => {
    cgroups.close();
    expect(cgroups.list()).toEqual([]);
  });

  const memoryFile = (paths: string[]): string =>
    paths.flatMap((path) => ['memory.max', 'memory.limit_in_bytes'].map((name) => join(path, name))).find(existsSync)!;

  it('set limits, and write only what changes', () => {
    const paths = cgroups.pathsOf(slot);
    const limits = limitsOf({ memoryMiB: 64, vcpus: 1 });
    cgroups.limit(slot, limits);
    const file = memoryFile(paths);
    expect(readFileSync(file, 'utf8').trim()).toBe(String(limits.memoryBytes));
    writeFileSync(file, String(50 << 20));
    expect(cgroups.pathsOf(slot)).toEqual(paths);
    cgroups.limit(slot, limits);
    expect(readFileSync(file, 'utf8').trim()).toBe(String(50 << 20));
    cgroups.limit(slot, { ...limits, memoryBytes: 40 << 20 });
    expect(readFileSync(file, 'utf8').trim()).toBe(String(40 << 20));
    // Another agent knows nothing of what was written.
    open(`test-${process.pid}`).limit(slot, limits);
    expect(readFileSync(file, 'utf8').trim()).toBe(String(limits.memoryBytes));
  });

  it('say when a limit cannot be set', () => {
    cgroups.pathsOf(slot);
    expect(() => cgroups.limit(slot, { ...limitsOf({ memoryMiB: 64, vcpus: 1 }), threads: -5 })).toThrow(
      /does not take -5/,
    );
  });

  it('count what the kernel killed for memory, and who lives there', async () => {
    const paths = cgroups.pathsOf(slot);
    cgroups.limit(slot, { ...limitsOf({ memoryMiB: 64, vcpus: 1 }), memoryBytes: 24 << 20 });
    expect(cgroups.oomKills(slot)).toBe(0);
    const hog = spawn('sh', ['-c', 'read go; tail /dev/zero'], { stdio: ['pipe', 'ignore', 'ignore'] });
    for (const path of paths) writeFileSync(join(path, 'cgroup.procs'), String(hog.pid));
    expect(cgroups.processesOf(slot)).toEqual([hog.pid]);
    cgroups.remove(slot);
    expect(statSync(paths[0]!).isDirectory()).toBe(true);
    hog.stdin!.end('\n');
    await once(hog, 'exit');
    expect(cgroups.oomKills(slot)).toBeGreaterThan(0);
    expect(cgroups.list()).toEqual([slot.cgroup]);
    cgroups.remove(slot);
    expect(cgroups.list()).toEqual([]);
  });
});
