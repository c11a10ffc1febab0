import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '#emulated-host';
import { describeWithKvm, makeTmpfsDirectory } from '../../../../../test/support/kvm';
import { repositoryRoot } from '../../repository-root';
import { benchAgainst, type AgainstParameters } from './against.bench';
import { NoResultError } from '../vmm/measured';

jest.setTimeout(120_000);

const NATIVE = join(repositoryRoot(), 'native/build');
const STARTS = join(NATIVE, 'vmm/volley-starts');
const PARAMETERS: AgainstParameters = {
  ...{ where: 'this-machine', rivals: [], rounds: 1, count: 3, concurrency: 2, held: 3, deadlineS: 30 },
  ...{ memoryMiB: 16, cmdline: 'idle', wholePath: false },
};

const starts = (...words: string[]) => spawnSync(STARTS, words, { encoding: 'utf8', timeout: 60_000 });
const run = (parameters: Partial<AgainstParameters>) =>
  benchAgainst({ ...PARAMETERS, ...parameters }, new AbortController().signal, () => {});
const processesWith = (word: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(word);
    } catch {
      return false;
    }
  });

(existsSync(STARTS) ? describe : describe.skip)('volley-starts (needs npm run build:native)', () => {
  it('counts each start once, and leaves nothing of what the program has started', () => {
    const unique = `300.${process.pid}`;
    const script = `sleep ${unique} & echo it is ready; wait`;
    const { stdout, status } = starts(
      ...['--until', 'ready', '--count', '5', '--concurrency', '2'],
      '--',
      'sh',
      '-c',
      script,
    );
    expect(status).toBe(0);
    const { readyUs, wallUs } = JSON.parse(stdout) as { readyUs: number[]; wallUs: number };
    expect(readyUs).toHaveLength(5);
    for (const us of readyUs) expect(us).toBeLessThanOrEqual(wallUs);
    expect(processesWith(unique)).toEqual([]);
  });

  it('measures the memory of the whole of what it holds', () => {
    const touch = `b = b"x" * (20 << 20); print("ready", flush=True); import time; time.sleep(300)`;
    const python = findProgram('python3') ?? findProgram('python');
    if (python === undefined) return;
    const { stdout } = starts(...['--until', 'ready', '--count', '2', '--hold', 'yes'], '--', python, '-c', touch);
    const { programs } = JSON.parse(stdout) as { programs: Record<string, { processes: number; privateKiB: number }> };
    const [held] = Object.values(programs);
    expect(held!.processes).toBe(2);
    expect(held!.privateKiB).toBeGreaterThan(2 * 20 * 1_024);
  });

  it('tells what a program said that never became ready', () => {
    const { stdout, stderr, status } = starts('--until', 'ready', '--', 'sh', '-c', 'echo no kernel; exit 3');
    expect([stdout, status]).toEqual(['', 1]);
    expect(stderr).toMatch(/sh: "ready" was not said; what was: no kernel/);
    expect(starts('--until', 'ready', '--deadline', '1', '--', 'sleep', '300').stderr).toMatch(/what was: nothing/);
    expect(starts('--until', 'x', '--count', '0', '--', 'true').status).toBe(2);
  });
});

describeWithKvm('our VMM beside another', () => {
  let scratch: ReturnType<typeof makeTmpfsDirectory>;
  beforeAll(() => void (scratch = makeTmpfsDirectory()));
  afterAll(() => scratch.remove());

  const program = (name: string, text: string): string => {
    const path = join(scratch.path, name);
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return path;
  };

  const qemu = findProgram('qemu-system-x86_64');
  if (qemu === undefined) process.stderr.write('SKIPPED: side by side with QEMU: install qemu-system-x86\n');
  (qemu === undefined ? it.skip : it)('starts the same guest under QEMU (needs qemu-system-x86)', async () => {
    const { medians, factors, rounds } = await run({ rivals: [{ kind: 'qemu' }] });
    expect(medians.map(({ of }) => of)).toEqual(['start', 'rate', 'memory']);
    expect(Object.keys(rounds)).toEqual(expect.arrayContaining(['volley', 'qemu-microvm']));
    for (const figures of Object.values(rounds)) {
      expect(figures[0]!['start']!.p50).toBeGreaterThan(0);
      expect(figures[0]!['rate']!.operationsPerSecond).toBeGreaterThan(0);
      expect(figures[0]!['memory']!.privateKiB).toBeGreaterThan(0);
    }
    expect(factors).toContainEqual(expect.objectContaining({ of: 'start', measure: 'p50', rival: 'qemu-microvm' }));
  });

  // Nobody here has a Firecracker: this stands in for it where it matters, by reading what it would be given.
  const standIn = `#!${process.execPath}
    const [api, option, file] = process.argv.slice(2);
    if (api !== '--no-api' || option !== '--config-file') throw new Error('called wrongly');
    const config = JSON.parse(require('node:fs').readFileSync(file, 'utf8'));
    if (!Array.isArray(config.drives) || config['machine-config'].vcpu_count !== 1) throw new Error('no machine');
    const { kernel_image_path: kernel, boot_args: words } = config['boot-source'];
    const memory = String(config['machine-config'].mem_size_mib);
    const vmm = '${join(NATIVE, 'vmm/volley-vmm')}';
    require('node:child_process').spawnSync('${join(NATIVE, 'vmm/volley-run')}',
      ['--vmm', vmm, '--kernel', kernel, '--memory', memory, '--cmdline', words + ' pci=off'], { stdio: 'inherit' });
  `;

  it('gives Firecracker a machine that boots', async () => {
    const path = program('firecracker', standIn);
    const { rounds } = await run({ rivals: [{ kind: 'firecracker', path }] });
    expect(rounds['firecracker']![0]!['start']!.p50).toBeGreaterThan(0);
    expect(processesWith(scratch.path)).toEqual([]);
  });

  it('is no comparison when a guest does not start', async () => {
    const path = program('broken', '#!/bin/sh\necho no such machine; exit 1\n');
    await expect(run({ rivals: [{ kind: 'qemu', path }] })).rejects.toThrow(NoResultError);
    await expect(run({ rivals: [{ kind: 'qemu', path }] })).rejects.toThrow(/no such machine/);
  });

  it('has a guest that any VMM can enter', () => {
    const text = execFileSync('readelf', ['-hn', join(NATIVE, 'guest/canary-anywhere.elf')], { encoding: 'utf8' });
    expect(text).toMatch(/Entry point address: +0x10/);
    expect(text).toMatch(/Xen +0x00000004/);
  });
});
