import pino from 'pino';
import type { Shell, ShellSpec } from '#microvm';
import { Network } from '#protocol';
import { SlotKeeper, SHELL_FILE_BYTES, type SlotKeeperParts } from './slot-keeper';
import { slotOf, type Slot } from './slot-layout';
import { TAPS_AHEAD } from './slot-network';

const layout = (number: number): Slot => slotOf(number, { uidBase: 200_000, pool: { base: 0x64400000, prefix: 16 } });

class FakeShell implements Shell {
  readonly barriers = [];
  readonly primed = undefined;
  readonly ended: Promise<void>;
  discarded = false;
  end!: () => void;
  constructor(
    readonly pid: number,
    readonly spec: ShellSpec,
  ) {
    this.ended = new Promise((resolve) => (this.end = resolve));
  }
  discard(): void {
    this.discarded = true;
    this.end();
  }
}

class FakeFabric {
  readonly namespacePath = '/run/netns/x';
  readonly mtu = 1_400;
  readonly taps = new Set<number>();
  readonly granted = new Map<number, Network>();
  readonly scrubbed: number[] = [];
  failScrubs = 0;
  hasTap(slot: number): boolean {
    return this.taps.has(slot);
  }
  makeTaps(slots: readonly Slot[]): Promise<void> {
    for (const { number } of slots) this.taps.add(number);
    return Promise.resolve();
  }
  readonly remade: string[] = [];
  remakeTap({ tap }: Slot): Promise<void> {
    this.remade.push(tap);
    return Promise.resolve();
  }
  grant({ number }: Slot, network: Network): Promise<void> {
    this.granted.set(number, network);
    return Promise.resolve();
  }
  scrub({ number }: Slot): Promise<void> {
    if (this.failScrubs-- > 0) return Promise.reject(new Error('busy'));
    this.scrubbed.push(number);
    this.granted.delete(number);
    return Promise.resolve();
  }
}

const until = async (condition: () => boolean): Promise<void> => {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('never');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

const raise = (error: Error): never => {
  throw error;
};

describe('the places of a host', () => {
  const shells: FakeShell[] = [];
  let fabric: FakeFabric;
  let keeper: SlotKeeper;
  const open = Network.parse({});

  const make = async (more: Partial<SlotKeeperParts> = {}): Promise<SlotKeeper> => {
    fabric = new FakeFabric();
    shells.length = 0;
    keeper = new SlotKeeper({
      size: 100,
      layout,
      driver: {
        prepare: (spec) => {
          const shell = new FakeShell(1_000 + shells.length, spec);
          shells.push(shell);
          return Promise.resolve(shell);
        },
        openTap: () => 7,
      },
      barriers: ['ids', 'seccomp'],
      cgroups: { pathsOf: ({ cgroup }) => [`/cg/${cgroup}`] },
      network: Promise.resolve({ fabric, limit: 90, isPortTaken: (_, port) => port === 22 }),
      warmShells: 0,
      shellsAtOnce: 1,
      log: pino({ level: 'silent' }),
      ...more,
    });
    await Promise.resolve();
    keeper.start();
    return keeper;
  };
  const took = (network?: Network): Slot => {
    const taken = keeper.take(network);
    if ('refused' in taken) throw new Error(taken.refused);
    return taken.slot;
  };
  afterEach(() => keeper.stop());

  it('have shells ready, each in its own slot, and new ones when they are taken', async () => {
    await make({ warmShells: 3 });
    await until(() => keeper.shells === 3);
    expect(new Set(shells.map(({ spec }) => spec.uid)).size).toBe(3);
    const slot = took();
    const shell = keeper.takeShell(slot, 0)! as FakeShell;
    expect(shell.spec).toEqual({
      barriers: ['ids', 'seccomp'],
      uid: slot.uid,
      gid: slot.gid,
      openFiles: 1_024,
      fileBytes: SHELL_FILE_BYTES,
      cgroupPaths: [`/cg/${slot.cgroup}`],
    });
    expect(keeper.takeShell(slot, 0)).toBeUndefined();
    await until(() => keeper.shells === 3);
    expect(keeper.free).toBe(99);
  });

  /** Something is made of a shell, and waits for starts of one kind. */
  const reserved = async (key: string, network = false) => {
    const lent = (await keeper.lend(network))!;
    const source = {};
    keeper.reserve({ slot: lent.slot, shell: lent.shell, key, source });
    return { ...lent, source, shell: lent.shell as FakeShell };
  };

  it('keep what is reserved for starts of its kind, and take its slot for others when there is no other', async () => {
    await make({ size: 2 });
    const one = await reserved('a');
    await keeper.shellReady(60_000, 'a');
    expect([keeper.free, keeper.isIdle(one.slot)]).toEqual([2, false]);
    const other = took();
    expect(other.number).not.toBe(one.slot);
    const taken = keeper.take(undefined, { key: 'a' }) as { slot: Slot };
    expect(taken.slot.number).toBe(one.slot);
    expect(keeper.takeShell(taken.slot, 0, one.source)).toBe(one.shell);
    expect(keeper.reserved()).toEqual([]);
    keeper.giveBack(taken.slot);

    const next = await reserved('b');
    let told = 0;
    keeper.onReservedTaken(() => told++);
    const forced = took();
    expect([forced.number, next.shell.discarded, told]).toEqual([next.slot, true, 1]);
    expect(keeper.take(undefined)).toMatchObject({ refused: expect.stringContaining('no slot free') });
    await keeper.ready(forced);
  });

  it('do not let a start go on from what its shell was not primed with, nor leave that behind', async () => {
    await make();
    const stale = await reserved('a');
    const slot = (keeper.take(undefined, { key: 'a' }) as { slot: Slot }).slot;
    expect(keeper.takeShell(slot, 0, {})).toBeUndefined();
    expect(stale.shell.discarded).toBe(true);
    const unused = await reserved('a');
    // Its start comes to nothing before it is launched.
    keeper.giveBack((keeper.take(undefined, { key: 'a' }) as { slot: Slot }).slot);
    expect(unused.shell.discarded).toBe(true);
    expect(keeper.takeShell(keeper.slot(unused.slot), 0)).toBeUndefined();
  });

  it('free the slot of what was reserved and has ended, by itself or on order, and end all with the agent', async () => {
    await make({ size: 3 });
    const [died, ended, left] = [await reserved('a'), await reserved('a'), await reserved('b', true)];
    expect(keeper.reserved('a')).toHaveLength(2);
    died.shell.end();
    await until(() => keeper.reserved('a').length === 1);
    keeper.endReserved(keeper.reserved('a')[0]!);
    expect(ended.shell.discarded).toBe(true);
    await until(() => keeper.isIdle(died.slot) && keeper.isIdle(ended.slot));
    await keeper.stop();
    expect(left.shell.discarded).toBe(true);
    expect(await keeper.lend(false)).toBeUndefined();
  });

  it('have shells where the starts that come find them', async () => {
    await make({ warmShells: 4 });
    const withTap = (): number =>
      shells.filter(({ discarded, spec }) => !discarded && fabric.taps.has(spec.uid - 200_000)).length;
    await until(() => keeper.shells === 4);
    expect(withTap()).toBe(2); // either kind may come first
    for (let start = 0; start < 8; start++) {
      const shell = keeper.takeShell(took(open), 0);
      if (start > 4) expect(shell).toBeDefined();
      await until(() => keeper.shells === 4);
    }
    for (let start = 0; start < 4; start++) expect(keeper.takeShell(took(open), 0)).toBeDefined();
    await until(() => keeper.shells === 4);
    for (let start = 0; start < 4; start++) expect(keeper.takeShell(took(), 0)).toBeDefined(); // these serve every start
  });

  it('do not give a shell to who needs larger files, or one that has ended', async () => {
    await make({ warmShells: 1 });
    await until(() => keeper.shells === 1);
    const first = took();
    expect(keeper.takeShell(first, SHELL_FILE_BYTES + 1)).toBeUndefined();
    expect(shells[0]!.discarded).toBe(true);
    await until(() => keeper.shells === 1);
    shells.at(-1)!.end();
    await until(() => keeper.shells === 0);
    expect(keeper.takeShell(took(), 0)).toBeUndefined();
  });

  it('tell a start that waits for a shell of the next one that is ready, and none for ever', async () => {
    const slow: (() => void)[] = [];
    const prepare = (spec: ShellSpec): Promise<Shell> =>
      new Promise((resolve) => slow.push(() => resolve(new FakeShell(slow.length, spec))));
    await make({ warmShells: 1, driver: { prepare, openTap: () => 7 } });
    let told = false;
    const waiting = keeper.shellReady(60_000).then(() => (told = true));
    await until(() => slow.length === 1);
    expect(told).toBe(false);
    slow[0]!();
    await waiting;
    await keeper.shellReady(60_000); // there is one
    expect(keeper.takeShell(took(), 0)).toBeDefined();
    await keeper.shellReady(1); // none comes
    expect(keeper.shells).toBe(0);
    await until(() => slow.length === 2);
    slow[1]!();
    await make();
    await keeper.shellReady(60_000); // none are made here
  });

  it('are jailed one beside the other, as many at once as are to be', async () => {
    let most = 0;
    let now = 0;
    const prepare = async (spec: ShellSpec): Promise<Shell> => {
      most = Math.max(most, ++now);
      await new Promise(setImmediate);
      now--;
      return new FakeShell(1, spec);
    };
    await make({ warmShells: 7, shellsAtOnce: 3, driver: { prepare, openTap: () => 7 } });
    await until(() => keeper.shells === 7);
    expect(most).toBe(3);
  });

  it('end their shells with the agent', async () => {
    await make({ warmShells: 2 });
    await until(() => keeper.shells === 2);
    await keeper.stop();
    expect(shells.every(({ discarded }) => discarded)).toBe(true);
  });

  it('have taps ahead of need, and keep them for those who want a network', async () => {
    await make();
    await until(() => fabric.taps.size === TAPS_AHEAD);
    expect(took().number).toBe(TAPS_AHEAD);
    const slots = Array.from({ length: TAPS_AHEAD }, () => took(open).number);
    expect(slots).toEqual(Array.from({ length: TAPS_AHEAD }, (_, n) => n));
    const late = took(open);
    await keeper.ready(late);
    expect(fabric.hasTap(late.number)).toBe(true);
    await until(() => fabric.taps.size > TAPS_AHEAD + 1);
    expect(fabric.granted.size).toBe(0);
  });

  it('make a tap anew that somebody has removed, and open no other that way', async () => {
    const missing = Object.assign(new Error('the tap is not there'), { code: 'ENODEV' });
    const openTap = jest.fn((): number => (fabric.remade.length > 0 ? 9 : raise(missing)));
    const prepare = (spec: ShellSpec) => Promise.resolve(new FakeShell(1, spec));
    await make({ driver: { prepare, openTap } });
    const slot = took(open);
    expect(await keeper.network.openTap(slot)).toBe(9);
    expect(fabric.remade).toEqual([slot.tap]);
    openTap.mockImplementation(() => raise(missing));
    await expect(keeper.network.openTap(slot)).rejects.toBe(missing);
    fabric.remade.length = 0;
    const full = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    openTap.mockImplementation(() => raise(full));
    await expect(keeper.network.openTap(slot)).rejects.toBe(full);
    expect(fabric.remade).toEqual([]);
  });

  it('put wishes into force, and take them back before the next tenant comes', async () => {
    await make();
    const listed = Network.parse({ egress: 'listed' });
    const slot = took(listed);
    await keeper.ready(slot);
    expect(fabric.granted.get(slot.number)).toBe(listed);
    fabric.failScrubs = 1;
    keeper.giveBack(slot);
    expect(keeper.free).toBe(99);
    await until(() => keeper.free === 100);
    expect(fabric.scrubbed).toEqual([slot.number]);
    expect(fabric.granted.size).toBe(0);
  });

  it('refuse ports of the host that are taken', async () => {
    await make();
    const forwards = (...ports: number[]) =>
      Network.parse({ forwards: ports.map((hostPort) => ({ hostPort, guestPort: 80 })) });
    const slot = took(forwards(8080));
    expect(keeper.take(forwards(8080))).toEqual({
      refused: 'tcp port 8080 of this host is handed on to another microVM already',
    });
    expect(keeper.take(forwards(22))).toEqual({
      refused: 'a program of this host listens on its tcp port 22; choose another port',
    });
    expect(keeper.take(forwards(81, 81))).toEqual({ refused: 'tcp port 81 of the host is to be handed on twice' });
    keeper.giveBack(slot);
    await until(() => keeper.free === 100);
    took(forwards(8080));
    keeper.restore(50, forwards(9090));
    expect(keeper.take(forwards(9090))).toHaveProperty('refused');
  });

  it('say what is missing', async () => {
    await make({ size: 2 });
    [took(), took()].forEach(({ number }) => expect(number).toBeLessThan(2));
    expect(keeper.take(undefined)).toEqual({ refused: 'no slot free: 2 of 2 slots are in use, 0 are being scrubbed' });
    await keeper.stop();
    await make({ network: Promise.resolve({ fabric: new FakeFabric(), limit: 1, isPortTaken: () => false }) });
    took(open);
    expect(keeper.take(open)).toEqual({
      refused: 'no slot with a network address free: the pool has addresses for 1 of 100 slots',
    });
    took();
    await keeper.stop();
    await make({ network: Promise.resolve({ unavailable: 'no root' }) });
    expect(keeper.take(open)).toEqual({ refused: 'this host cannot give microVMs a network: no root' });
    await keeper.stop();
    await make({ refusal: 'not safe here' });
    expect(keeper.take(undefined)).toEqual({ refused: 'not safe here' });
  });

  it('keep what the journal says is taken', async () => {
    await make({ size: 3 });
    keeper.restore(1, undefined);
    keeper.restore(7, undefined);
    expect([took().number, took().number]).toEqual([0, 2]);
    expect(keeper.take(undefined)).toHaveProperty('refused');
    keeper.giveBack(layout(7));
    keeper.giveBack(layout(1));
    expect(took().number).toBe(1);
  });
});
