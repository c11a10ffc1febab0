import { once } from 'node:events';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pino from 'pino';
import { MicrovmSpec } from '#protocol';
import type { IncarnationRecord } from '../journal/host-record';
import { GuestSockets, VSOCK_SOCKET } from '../microvms/guest-sockets';
import type { Knock } from './door';
import { HELD_MOST } from './held-connections';
import { WakeDoors } from './wake-doors';

const ID = '01hzzzzzzzzzzzzzzzzzzzzzz1';
const spec = MicrovmSpec.parse({ image: 'canary', vsock: true, wakeOn: ['vsock'] });

const until = async (what: string, condition: () => boolean): Promise<void> => {
  for (const end = performance.now() + 30_000; !condition();) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await pause(2);
  }
};

describe('the socket of a guest that is suspended', () => {
  const incarnations = new Map<string, IncarnationRecord>();
  const woken: Knock[] = [];
  const clients: Socket[] = [];
  const vmms: Server[] = [];
  let folder: string;
  let sockets: GuestSockets;
  let doors: WakeDoors;
  let refuse: Error | undefined;

  const becomes = (phase: IncarnationRecord['phase'], more: object = {}): void => {
    incarnations.set(ID, { microvmId: ID, epoch: 1, spec, ...incarnations.get(ID), phase, ...more } as never);
    doors.changed(ID);
  };
  const isSuspended = async (): Promise<void> => {
    becomes('suspended');
    await doors.suspended(ID);
  };
  /** One that answers as a VMM does, and says what it heard behind the first line. */
  const vmmIn = async (name: string): Promise<string> => {
    const directory = join(folder, name);
    mkdirSync(directory);
    const vmm = createServer({ allowHalfOpen: true }, (socket) => {
      let heard = '';
      socket.on('data', (data) => {
        if (heard === '') socket.write('OK 5000\n');
        heard += data.toString();
      });
      socket.on('end', () => socket.end(`${name} heard ${JSON.stringify(heard)}`));
      socket.on('error', () => undefined);
    });
    vmms.push(vmm);
    await once(vmm.listen(join(directory, VSOCK_SOCKET)), 'listening');
    return directory;
  };
  const client = (): { socket: Socket; heard: () => string; over: Promise<string> } => {
    const socket = connect({ path: sockets.pathOf(ID), allowHalfOpen: true });
    clients.push(socket);
    let heard = '';
    socket.on('data', (data) => (heard += data.toString())).on('error', () => undefined);
    const over = new Promise<string>((resolve) => socket.once('close', () => resolve(heard)));
    socket.once('end', () => socket.end());
    return { socket, heard: () => heard, over };
  };
  const start = (): WakeDoors => {
    const started = new WakeDoors({ incarnations, sockets, nowMs: () => 0, log: pino({ level: 'silent' }) });
    started.connect((_, knock) => {
      woken.push(knock);
      return refuse ? Promise.reject(refuse) : Promise.resolve();
    });
    return started;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-vsock-door-'));
    sockets = new GuestSockets(join(folder, 'vsock'));
    incarnations.clear();
    woken.length = 0;
    refuse = undefined;
    doors = start();
  });
  afterEach(async () => {
    doors.stop();
    for (const socket of clients.splice(0)) socket.destroy();
    for (const vmm of vmms.splice(0)) vmm.close();
    await pause(1);
    rmSync(folder, { recursive: true });
  });

  it('holds who connects, wakes it once, and hands on whole what was said, also while it goes on', async () => {
    await isSuspended();
    expect(lstatSync(sockets.pathOf(ID)).mode & 0o777).toBe(0o600);
    const first = client();
    first.socket.end('CONNECT 1024\nfirst words');
    await until('it is woken', () => woken.length === 1);
    expect(woken).toEqual([{ protocol: 'vsock', port: 1_024 }]);
    becomes('admitted', { restored: true, epoch: 2 });
    const second = client();
    second.socket.write('CONNECT 7\nsecond');
    // More than the buffers of a connection and of this process take: it waits with who says it.
    const much = 'x'.repeat(4 * 2 ** 20);
    second.socket.end(much);
    const slow = client();
    slow.socket.write('CONN');
    await until('all are held', () => doors.held === 3);
    const directory = await vmmIn('vmm-2');
    becomes('launched', { identity: { directory } });
    sockets.leadTo(ID, directory);
    expect([first.heard(), second.heard()]).toEqual(['', '']);
    becomes('running');
    slow.socket.end('ECT 9\nslow words');
    expect(await first.over).toBe('OK 5000\nvmm-2 heard "CONNECT 1024\\nfirst words"');
    expect(await second.over).toBe(`OK 5000\nvmm-2 heard ${JSON.stringify(`CONNECT 7\nsecond${much}`)}`);
    expect(await slow.over).toBe('OK 5000\nvmm-2 heard "CONNECT 9\\nslow words"');
    expect([woken.length, doors.held]).toEqual([1, 0]);
  });

  it('passes from VMM to agent and back without an instant in which nobody listens', async () => {
    let directory = await vmmIn('vmm-1');
    sockets.leadTo(ID, directory);
    becomes('running', { identity: { directory } });
    const answers: Promise<string>[] = [];
    /** Who came to a VMM while that was there: it still answers. */
    const byVmm: Promise<string>[] = [];
    let refused = 0;
    let isOver = false;
    // One after another, as fast as they come: those in between are held, and none is refused.
    const knocking = (async () => {
      while (!isOver) {
        const isVmm = lstatSync(sockets.pathOf(ID)).isSymbolicLink();
        const { socket, over } = client();
        if (isVmm) byVmm.push(over);
        socket.on('error', () => refused++);
        await once(socket, 'connect').catch(() => undefined);
        socket.end('CONNECT 1\nhello');
        answers.push(over);
        // As many as may be held in one turn, and no more.
        if (doors.held > HELD_MOST / 2) await until('they are delivered', () => doors.held === 0 || isOver);
      }
    })();
    for (let epoch = 2; epoch < 6; epoch++) {
      await pause(5);
      await isSuspended();
      // Its VMM ends when nobody comes to it any more.
      const served = vmms.at(-1)!;
      await Promise.all(byVmm);
      sockets.left(ID, directory);
      served.close();
      becomes('admitted', { restored: true, epoch });
      directory = await vmmIn(`vmm-${epoch}`);
      becomes('launched', { identity: { directory } });
      sockets.leadTo(ID, directory);
      await pause(5);
      becomes('running');
    }
    await pause(5);
    isOver = true;
    await knocking;
    const heard = await Promise.all(answers);
    expect(refused).toBe(0);
    expect(heard.filter((text) => !/^OK 5000\nvmm-\d heard "CONNECT 1\\nhello"$/.test(text))).toEqual([]);
    expect(new Set(heard).size).toBeGreaterThan(1);
  });

  it('wakes nothing for what is no request, and turns away who says nothing for long, crowds, and all when it cannot be woken', async () => {
    await isSuspended();
    const wrong = client();
    wrong.socket.write('GET / HTTP/1.1\r\n');
    expect(await wrong.over).toBe('');
    const left = client();
    left.socket.end('CONN');
    expect(await left.over).toBe('');
    expect(woken).toEqual([]);
    const crowd = Array.from({ length: HELD_MOST + 2 }, client);
    const outcomes = await Promise.all([...crowd.slice(-2)].map(({ over }) => over));
    expect(outcomes).toEqual(['', '']);
    refuse = new Error('no room');
    crowd[0]!.socket.write('CONNECT 1\n');
    await Promise.all(crowd.map(({ over }) => over));
    expect([woken.length, doors.held]).toEqual([1, 0]);
    expect(lstatSync(sockets.pathOf(ID)).isSocket()).toBe(true);
  });

  it('is gone when the microVM has ended or the agent ends, and there again with the next agent', async () => {
    await isSuspended();
    const waiting = client();
    waiting.socket.write('CONNECT 1\n');
    await until('it is held', () => woken.length === 1);
    becomes('ended');
    expect(await waiting.over).toBe('');
    expect(readdirSync(sockets.directory)).toEqual([]);
    await isSuspended();
    doors.stop();
    expect(readdirSync(sockets.directory)).toEqual([]);
    doors = start();
    doors.compare();
    await until('it is there again', () => existsSync(sockets.pathOf(ID)));
    const back = client();
    back.socket.write('CONNECT 1\n');
    await until('it is held again', () => woken.length === 2);
  });

  it('leaves alone what was put in its place meanwhile', async () => {
    await isSuspended();
    const directory = await vmmIn('vmm-9');
    sockets.leadTo(ID, directory);
    becomes('ended');
    expect(lstatSync(sockets.pathOf(ID)).isSymbolicLink()).toBe(true);
    const { socket, over } = client();
    socket.end('CONNECT 1\n');
    expect(await over).toContain('vmm-9 heard');
    sockets.left(ID, join(folder, 'vmm-8'));
    expect(readdirSync(sockets.directory)).toEqual([ID]);
    sockets.left(ID, directory);
    expect(readdirSync(sockets.directory)).toEqual([]);
  });

  it('is of no microVM that does not want it, or has no such device', async () => {
    for (const other of [{ vsock: true }, { vsock: true, wakeOn: ['packet'] }]) {
      becomes('suspended', { spec: MicrovmSpec.parse({ image: 'canary', ...other }) });
      await doors.suspended(ID);
      doors.compare();
    }
    expect(readdirSync(sockets.directory)).toEqual([]);
    expect(() => MicrovmSpec.parse({ image: 'canary', wakeOn: ['vsock'] })).toThrow(/vsock needs a vsock device/);
    expect(MicrovmSpec.parse({ image: 'alpine', wakeOn: ['vsock'] }).wakeOn).toEqual(['vsock']);
    expect(() => MicrovmSpec.parse({ image: 'alpine', wakeOn: ['vsock', 'vsock'] })).toThrow(/twice/);
  });

  it('is cleared away where an agent that was killed left it', () => {
    sockets.leadTo(ID, join(folder, 'gone'));
    sockets.leadTo('kept', join(folder, 'kept'));
    sockets.leadTo(`${ID}.1.1`, join(folder, 'draft'));
    expect(sockets.clear((id) => id === 'kept').sort()).toEqual([ID, `${ID}.1.1`]);
    expect(readdirSync(sockets.directory)).toEqual(['kept']);
  });
});
