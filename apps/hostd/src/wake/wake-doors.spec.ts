import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { freePort } from '#ports';
import { MicrovmSpec } from '#protocol';
import type { IncarnationRecord } from '../journal/host-record';
import { isPortTaken } from '../network/host-ports';
import { GuestSockets } from '../microvms/guest-sockets';
import type { Knock } from './door';
import { HELD_MOST } from './held-connections';
import { KnockGate, KNOCK_LIMITS } from './knock-limits';
import { WakeDoors } from './wake-doors';

const ID = '01hzzzzzzzzzzzzzzzzzzzzzz0';

const until = async (what: string, condition: () => boolean): Promise<void> => {
  for (const end = performance.now() + 30_000; !condition();) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

describe('the doors of what is suspended', () => {
  const incarnations = new Map<string, IncarnationRecord>();
  const woken: { microvmId: string; knock: Knock }[] = [];
  const sockets: Socket[] = [];
  let doors: WakeDoors;
  let nowMs: number;
  let refuse: Error | undefined;
  let port: number;
  let guest: Server;
  let folder: string;
  const heard: string[] = [];

  const becomes = (phase: IncarnationRecord['phase'], more: Partial<IncarnationRecord> = {}): void => {
    incarnations.set(ID, { ...incarnations.get(ID)!, phase, ...more });
    doors.compare();
  };
  const knock = (): Socket => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    sockets.push(socket);
    return socket;
  };
  /** By a reset, or by an end: `once` of node:events would take the first for a failure of the test. */
  const turnedAway = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));
  const isOpen = (): boolean => isPortTaken('tcp', port) && isPortTaken('udp', port);
  const opened = (): Promise<void> => until('it is open', isOpen);

  beforeEach(async () => {
    nowMs = 0;
    refuse = undefined;
    folder = mkdtempSync(join(tmpdir(), 'volley-doors-'));
    woken.length = 0;
    port = await freePort('0.0.0.0');
    const forwards = [
      { protocol: 'tcp', hostPort: port, guestPort: 80 },
      { protocol: 'udp', hostPort: port, guestPort: 53 },
    ];
    const spec = MicrovmSpec.parse({ image: 'canary', network: { forwards }, wakeOn: ['packet'] });
    incarnations.set(ID, { microvmId: ID, epoch: 3, phase: 'suspended', spec } as unknown as IncarnationRecord);
    const log = pino({ level: 'silent' });
    const limits = { ...KNOCK_LIMITS, source: { burst: 2, perSecond: 0.01 } };
    heard.length = 0;
    guest = createServer((socket) => socket.on('data', (data) => (heard.push(String(data)), socket.end('answer'))));
    await once(guest.listen(0, '127.0.0.1'), 'listening');
    doors = new WakeDoors({
      ...{ incarnations, nowMs: () => nowMs, log },
      sockets: new GuestSockets(join(folder, 'vsock')),
      way: () => ({ host: '127.0.0.1', port: (guest.address() as AddressInfo).port }),
      gate: new KnockGate(() => nowMs, limits),
    });
    doors.connect(({ microvmId }, by) => {
      woken.push({ microvmId, knock: by });
      return refuse ? Promise.reject(refuse) : Promise.resolve();
    });
    doors.compare();
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    doors.stop();
    guest.close();
    rmSync(folder, { recursive: true });
  });

  it('wake it once, and hand on what waited, whole, as soon as it runs', async () => {
    await opened();
    const [one, two] = [knock(), knock()];
    one.write('first words');
    two.write('second words');
    await until('it is woken', () => woken.length > 0);
    expect(woken[0]).toMatchObject({ microvmId: ID, knock: { protocol: 'tcp', port, address: '127.0.0.1' } });
    becomes('admitted', { restored: true });
    becomes('launched', { restored: true });
    const three = knock();
    three.write('third words');
    await until('all are held', () => doors.held === 3);
    const answers = [one, two, three].map(async (socket) => String(((await once(socket, 'data')) as [Buffer])[0]));
    expect(heard).toEqual([]);
    becomes('running');
    expect(await Promise.all(answers)).toEqual(['answer', 'answer', 'answer']);
    expect(heard.sort()).toEqual(['first words', 'second words', 'third words']);
    expect(woken).toHaveLength(1);
    expect([doors.keeps(ID), isOpen()]).toEqual([false, false]);
  });

  it('outlive what goes wrong at their ports, were it again and again', async () => {
    await opened();
    becomes('ended');
    const made = jest.spyOn(jest.requireActual<typeof import('node:net')>('node:net'), 'createServer');
    becomes('suspended');
    await opened();
    const [door] = made.mock.results.map(({ value }) => value as Server);
    made.mockRestore();
    for (let i = 0; i < 2; i++) door!.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
    knock();
    await until('it is woken', () => woken.length > 0);
  });

  it('hand on who came before they were wholly open', async () => {
    await opened();
    becomes('ended');
    // The port of UDP is had later than that of TCP.
    const dgram = jest.requireActual<typeof import('node:dgram')>('node:dgram');
    const { createSocket: create } = dgram;
    let open!: () => void;
    const slow = jest.spyOn(dgram, 'createSocket').mockImplementationOnce((...args: Parameters<typeof create>) => {
      const made = create(...args);
      const bind = made.bind.bind(made) as (...words: unknown[]) => void;
      made.bind = ((...words: unknown[]) => ((open = () => bind(...words)), made)) as typeof made.bind;
      return made;
    });
    becomes('suspended');
    await until('TCP is open', () => isPortTaken('tcp', port));
    const early = knock();
    const answer = once(early, 'data');
    early.write('early words');
    await until('it is woken', () => woken.length > 0);
    becomes('running');
    open();
    expect(String(((await answer) as [Buffer])[0])).toBe('answer');
    expect(heard).toEqual(['early words']);
    slow.mockRestore();
  });

  it('are woken by a datagram as well', async () => {
    await opened();
    const socket = createSocket('udp4');
    await new Promise((resolve) => socket.send('x', port, '127.0.0.1', resolve));
    await until('it is woken', () => woken.length > 0);
    socket.close();
    expect(woken.map(({ knock: { protocol } }) => protocol)).toContain('udp');
  });

  it('turn away who comes when it cannot be woken, who wakes too much, and who comes in crowds', async () => {
    refuse = new Error('no room');
    await opened();
    await turnedAway(knock());
    expect(woken).toHaveLength(1);
    // For a while nobody is asked again.
    await turnedAway(knock());
    expect(woken).toHaveLength(1);
    nowMs += 5_000;
    await turnedAway(knock());
    await until('it is asked again', () => woken.length === 2);
    // This address has woken as many as it may, and is turned away whatever it knocks at.
    nowMs += 5_000;
    await turnedAway(knock());
    expect(woken).toHaveLength(2);
    nowMs += 600_000;
    refuse = undefined;
    const crowd = Array.from({ length: HELD_MOST + 3 }, knock);
    let closed = 0;
    for (const socket of crowd) socket.once('close', () => closed++);
    await until('some are turned away', () => closed === 3);
    expect(woken).toHaveLength(3);
  });

  it('have their ports from the suspension on, before they are open', () => {
    becomes('suspended');
    expect(isOpen()).toBe(false);
    expect(doors.isKept('tcp', port, undefined)).toBe(true);
    expect([doors.isKept('tcp', port, ID), doors.isKept('tcp', port + 1, undefined)]).toEqual([false, false]);
    becomes('running');
    expect(doors.isKept('tcp', port, undefined)).toBe(false);
  });

  it('close when it is gone, or another one of it runs', async () => {
    await opened();
    const waiting = knock();
    await once(waiting, 'connect');
    becomes('ended');
    await turnedAway(waiting);
    expect([doors.keeps(ID), isOpen()]).toEqual([false, false]);
    becomes('suspended');
    await opened();
    expect(doors.keeps(ID)).toBe(true);
    incarnations.delete(ID);
    doors.compare();
    expect(isOpen()).toBe(false);
  });
});

describe('the limits of waking', () => {
  it('hold for each address and for all, forget nobody who comes often, and remember no more than they may', () => {
    let now = 0;
    const gate = new KnockGate(() => now, {
      host: { burst: 4, perSecond: 1 },
      source: { burst: 2, perSecond: 0.1 },
      sources: 2,
    });
    const woke = (address: string, times: number): number =>
      Array.from({ length: times }, () => gate.mayWake(address)).filter(Boolean).length;
    expect([woke('a', 5), woke('b', 5), woke('c', 5)]).toEqual([2, 2, 0]);
    now += 10_000;
    expect(woke('c', 5)).toBe(1);
    now += 100_000;
    expect(woke('d', 5)).toBe(2);
  });
});
