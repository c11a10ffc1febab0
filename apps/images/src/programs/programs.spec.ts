import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { runProgram, type ProgramRun } from './run-program';
import { WorkFolder } from './work-folder';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-programs-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const never = new AbortController().signal;
const sh = (script: string, more: Partial<ProgramRun> = {}): Promise<string> =>
  runProgram({
    program: 'sh',
    args: ['-c', script],
    package: 'dash',
    folder,
    signal: never,
    deadlineMs: 20_000,
    ...more,
  });
const isAlive = (pid: string): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('a program', () => {
  it('gives what it prints, line by line', async () => {
    const lines: string[] = [];
    expect(await sh('echo one; echo two', { onLine: (line) => lines.push(line) })).toBe('one\ntwo\n');
    expect(lines).toEqual(['one', 'two']);
  });

  it('reads its input and fills a file', async () => {
    await sh('tr a-z A-Z', { input: Readable.from([Buffer.from('abc')]), outputFile: join(folder, 'out') });
    expect(readFileSync(join(folder, 'out'), 'utf8')).toBe('ABC');
  });

  it('may stop reading when it has enough', async () => {
    const endless = Readable.from(
      (function* () {
        for (let i = 0; i < 10_000; i++) yield Buffer.alloc(10_000);
      })(),
    );
    expect(await sh('head -c 3 >/dev/null; echo enough', { input: endless })).toBe('enough\n');
  });

  it('sees nothing of our environment but what it needs', async () => {
    process.env['VOLLEY_SECRET_OF_A_TEST'] = 'secret';
    try {
      const names = (await sh('env')).split('\n').map((line) => line.split('=')[0]);
      expect(names).toEqual(expect.arrayContaining(['PATH', 'HOME']));
      expect(names).not.toContain('VOLLEY_SECRET_OF_A_TEST');
    } finally {
      delete process.env['VOLLEY_SECRET_OF_A_TEST'];
    }
  });

  it.each<[string, () => Promise<unknown>, object]>([
    [
      'that fails',
      () => sh('echo why >&2; exit 3'),
      { name: 'ProgramError', outcome: '3', message: expect.stringContaining('why') },
    ],
    ['that is killed', () => sh('kill -9 $$'), { outcome: 'SIGKILL' }],
    [
      'that is missing',
      () => sh('', { program: 'no-such-program', package: 'some-package' }),
      { failure: 'cannot', message: expect.stringContaining('some-package') },
    ],
    ['that takes too long', () => sh('sleep 60', { deadlineMs: 50 }), { failure: 'timeout' }],
    [
      'that gives too much',
      () => sh('cat /dev/zero', { outputFile: join(folder, 'out'), maxOutputBytes: 1_000 }),
      { failure: 'tooLarge' },
    ],
    ['whose input breaks', () => sh('cat', { input: brokenInput() }), { message: 'the input broke' }],
    ['with a full disk behind it', () => sh('echo x', { outputFile: '/dev/full' }), { failure: 'noSpace' }],
    ['that is given up before', () => sh('echo x', { signal: AbortSignal.abort() }), { failure: 'cancelled' }],
  ])('%s says so', async (_, run, error) => {
    await expect(run()).rejects.toMatchObject(error);
  });

  it('that is given up ends with all that it has started', async () => {
    const controller = new AbortController();
    const pids: string[] = [];
    const running = sh('sleep 60 & echo $!; echo $$; wait', {
      signal: controller.signal,
      onLine: (line) => {
        pids.push(line);
        if (pids.length === 2) controller.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ failure: 'cancelled' });
    expect(pids).toHaveLength(2);
    while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  function brokenInput(): Readable {
    return new Readable({
      read() {
        this.destroy(new Error('the input broke'));
      },
    });
  }
});

describe('the folder of imports', () => {
  it('is gone after the import, however it ended', async () => {
    const work = WorkFolder.open(folder);
    let seen = '';
    await expect(
      work.within((one) => {
        seen = one;
        mkdirSync(join(one, 'a/b'), { recursive: true });
        throw new Error('failed');
      }),
    ).rejects.toThrow('failed');
    expect(seen).not.toBe('');
    expect(existsSync(seen)).toBe(false);
    work.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('of a process that died is removed, with what runs in it; that of a living one is not', async () => {
    const own = WorkFolder.open(folder);
    const dead = join(folder, '1-1', 'import-x');
    mkdirSync(dead, { recursive: true });
    const left = spawn('sleep', ['60'], { cwd: dead, stdio: 'ignore' });
    const ended = once(left, 'exit');
    writeFileSync(join(folder, 'kept'), 'not a folder of ours');
    WorkFolder.open(folder);
    expect(await ended).toEqual([null, 'SIGKILL']);
    const names = readdirSync(folder);
    expect(names).toHaveLength(2);
    expect(names).toContain('kept');
    own.close();
  });
});
