import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { DataFolder } from './data-folder';
import { MARK, markedProcesses, markOf } from './marked-processes';
import { identify, isAlive } from './process-identity';
import type { ProcessSpec } from './process-spec';
import { Supervisor } from './supervisor';
import { FolderInUseError, SupervisorLock } from './supervisor-lock';
import { readState } from './supervisor-state';

const OBEDIENT = 'setInterval(() => {}, 1000); console.log("here");';
const STUBBORN = 'process.on("SIGTERM", () => {}); console.log("here"); setInterval(() => {}, 1000);';

let folder: DataFolder;
let supervisors: Supervisor[];
let strays: ChildProcess[];
let notes: string[];

beforeEach(() => {
  folder = DataFolder.create(mkdtempSync(join(tmpdir(), 'volley-supervisor-')));
  supervisors = [];
  strays = [];
  notes = [];
});
afterEach(async () => {
  await Promise.all(supervisors.map((one) => one.stop()));
  for (const stray of strays) stray.kill('SIGKILL');
  rmSync(folder.path, { recursive: true, force: true });
});

function scripted(name: string, script: string, more: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    name,
    command: process.execPath,
    args: ['-e', script],
    env: { PATH: process.env['PATH']! },
    stopDeadlineMs: 5_000,
    ...more,
  };
}

async function supervise(groups: ProcessSpec[][]): Promise<Supervisor> {
  const supervisor = await Supervisor.of({
    folder,
    url: 'http://127.0.0.1:1',
    processes: async () => groups,
    note: (text) => notes.push(text),
  });
  supervisors.push(supervisor);
  await supervisor.start();
  return supervisor;
}

async function until<T>(what: () => T | undefined | false): Promise<T> {
  const end = Date.now() + 60_000;
  for (;;) {
    const value = what();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within 10 s: ${what.toString()}; notes: ${notes.join(' | ')}`);
    await pause(10);
  }
}

const statusOf = (name: string) => readState(folder)?.processes.find((one) => one.name === name);
const hasSaid = (name: string, text: string): boolean => {
  try {
    return readFileSync(folder.logFile(name), 'utf8').includes(text);
  } catch {
    return false;
  }
};

describe('a supervisor', () => {
  it('starts a process again when it dies, under a new pid, and says how it died', async () => {
    await supervise([[scripted('worker', OBEDIENT)]]);
    const first = statusOf('worker')!.pid!;
    process.kill(first, 'SIGKILL');
    const second = await until(() => statusOf('worker')?.restarts === 1 && statusOf('worker')!.pid);
    expect(second).not.toBe(first);
    expect(statusOf('worker')!.lastExit).toBe('killed by SIGKILL');
    expect(notes.join('\n')).toMatch(new RegExp(`worker with pid ${first} died after .* s: killed by SIGKILL`));
  });

  it('waits longer after each short life', async () => {
    await supervise([[scripted('broken', 'process.exit(7)')]]);
    await until(() => statusOf('broken')!.shortLives >= 3);
    const waits = notes.flatMap((note) => /again in (\d+) ms/.exec(note)?.[1] ?? []).map(Number);
    expect(waits.slice(0, 3)).toEqual([100, 200, 400]);
    expect(statusOf('broken')!.lastExit).toBe('exited with code 7');
  });

  it('goes on when a program is not there, and names it', async () => {
    await supervise([[scripted('absent', '', { command: '/nowhere/program' })]]);
    await until(() => notes.some((note) => /absent died .* could not be started: .*ENOENT/.test(note)));
  });

  it('starts a group when the one before is ready', async () => {
    let release!: () => void;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const started = supervise([[scripted('first', OBEDIENT, { ready: () => gate })], [scripted('second', OBEDIENT)]]);
    await until(() => statusOf('first')?.pid);
    expect(statusOf('second')!.pid).toBeNull();
    release();
    await started;
    expect(statusOf('second')!.pid).not.toBeNull();
    expect(readState(folder)!.phase).toBe('up');
  });

  it('stops the last group first, kills what does not obey, and gives the folder back', async () => {
    const supervisor = await supervise([
      [scripted('server', OBEDIENT)],
      [scripted('stubborn', STUBBORN, { stopDeadlineMs: 100 })],
    ]);
    await until(() => hasSaid('stubborn', 'here'));
    await supervisor.stop();
    expect(notes.filter((note) => /stopped/.test(note))).toEqual([
      expect.stringMatching(/^stubborn .* stopped: killed by SIGKILL/),
      expect.stringMatching(/^server .* stopped: killed by SIGTERM/),
    ]);
    expect(markedProcesses(folder.path)).toEqual([]);
    expect(SupervisorLock.holder(folder)).toBeUndefined();
    expect(readState(folder)!.phase).toBe('down');
  });

  it('can be stopped while it waits for a process that never gets ready', async () => {
    const supervisor = await Supervisor.of({
      folder,
      url: '',
      processes: async () => [
        [
          scripted('slow', OBEDIENT, {
            ready: (signal) => new Promise((_, no) => signal.addEventListener('abort', no)),
          }),
        ],
        [scripted('never', OBEDIENT)],
      ],
      note: (text) => notes.push(text),
    });
    const starting = supervisor.start();
    await until(() => statusOf('slow')?.pid);
    await supervisor.stop();
    await starting;
    expect(notes.join()).not.toContain('never started');
    expect(markedProcesses(folder.path)).toEqual([]);
  });

  it('has the folder to itself', async () => {
    await supervise([[scripted('worker', OBEDIENT)]]);
    const pid = statusOf('worker')!.pid;
    await expect(Supervisor.of({ folder, url: '', processes: async () => [], note: () => {} })).rejects.toThrow(
      FolderInUseError,
    );
    expect(statusOf('worker')!.pid).toBe(pid);
  });

  it('ends what a dead supervisor left running before it starts its own', async () => {
    const env = { PATH: process.env['PATH']!, [MARK]: markOf(folder.path, 'worker') };
    const stray = spawn(process.execPath, ['-e', OBEDIENT], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    strays.push(stray);
    await once(stray.stdout!, 'data');
    const ended = once(stray, 'exit');
    await supervise([[scripted('worker', OBEDIENT)]]);
    await ended;
    expect(notes[0]).toMatch(new RegExp(`worker with pid ${stray.pid}, left behind by a supervisor that died`));
    expect(markedProcesses(folder.path).map(({ pid }) => pid)).toEqual([statusOf('worker')!.pid]);
  });

  it('leaves processes of other folders alone', async () => {
    const env = { PATH: process.env['PATH']!, [MARK]: markOf(`${folder.path}-2`, 'worker') };
    const other = spawn(process.execPath, ['-e', OBEDIENT], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    strays.push(other);
    await once(other.stdout!, 'data');
    await supervise([]);
    expect(identify(other.pid!)).toBeDefined();
  });
});

describe('a lock', () => {
  it('of a process that died is taken over', async () => {
    const dead = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
    const identity = identify(dead.pid!)!;
    await once(dead, 'exit');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(folder.lockFile, JSON.stringify(identity));
    expect(SupervisorLock.holder(folder)).toBeUndefined();
    const lock = await SupervisorLock.take(folder);
    expect(SupervisorLock.holder(folder)!.pid).toBe(process.pid);
    lock.release();
  });

  it('is not fooled by a process that got the same pid', () => {
    const self = identify(process.pid)!;
    expect(isAlive(self)).toBe(true);
    expect(isAlive({ ...self, startTicks: String(Number(self.startTicks) - 1) })).toBe(false);
    expect(isAlive({ ...self, bootId: 'another' })).toBe(false);
  });

  it('goes to one of many who want it at once', async () => {
    const taken = await Promise.allSettled(Array.from({ length: 20 }, () => SupervisorLock.take(folder)));
    const won = taken.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(won).toHaveLength(1);
    won[0]!.release();
  });
});
