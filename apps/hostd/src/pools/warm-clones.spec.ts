import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { createMicrovmDriver, type MicrovmDriver, type MicrovmProcess } from '#microvm';
import { MicrovmSpec, sortableId } from '#protocol';
import { artefacts, describeWithKvm, makeTmpfsDirectory } from '../../../../test/support/kvm';
import { platformOf } from '../host/host-description';
import { SlotKeeper } from '../slots/slot-keeper';
import { slotOf } from '../slots/slot-layout';
import { TemplateStore } from '../templates/template-store';
import { WarmClones } from './warm-clones';

const until = async (what: string, condition: () => boolean): Promise<void> => {
  for (const end = performance.now() + 60_000; !condition();) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

describeWithKvm('pools of clones on KVM', () => {
  let scratch: ReturnType<typeof makeTmpfsDirectory>;
  let driver: MicrovmDriver;
  let store: TemplateStore;
  let slots: SlotKeeper;
  let warm: WarmClones;
  let count = 0;
  const log = pino({ level: 'silent' });

  const template = async (): Promise<string> => {
    const id = sortableId(++count, new Uint8Array(10));
    const directory = join(scratch.path, `source-${count}`);
    mkdirSync(directory);
    const shape = { bootProtocol: 'flat', irqchip: 'split', vcpus: 1, memoryMiB: 16, cmdline: '' } as const;
    const source = await driver.launch({ id: 'source', directory, kernelPath: artefacts.canary, ...shape });
    await source.booted;
    const draft = await store.begin(id, 32 * 2 ** 20);
    await source.snapshot(draft);
    source.kill();
    await source.exited;
    source.release();
    const spec = MicrovmSpec.parse({ tenant: 'acme', image: 'canary', vcpus: 1, memoryMiB: 16 });
    await store.complete(id, draft, { spec, platform: platformOf(driver.probe())!, pauseMs: 1 });
    return id;
  };
  const pids = (id?: string): number[] => slots.reserved(id).map(({ shell }) => shell.pid);
  const claim = async (id: string): Promise<MicrovmProcess> => {
    const taken = slots.take(undefined, { key: id });
    if ('refused' in taken) throw new Error(taken.refused);
    const held = store.get(id)!;
    const directory = join(scratch.path, `clone-${++count}`);
    mkdirSync(directory);
    const shape = { bootProtocol: 'flat', irqchip: 'split', vcpus: 1, memoryMiB: 16, cmdline: '' } as const;
    return driver.launch(
      { id: `clone-${count}`, directory, restore: { directory: held.folder }, ...shape },
      slots.takeShell(taken.slot, 0, held),
    );
  };

  beforeEach(() => {
    scratch = makeTmpfsDirectory();
    driver = createMicrovmDriver({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });
    store = new TemplateStore({ directory: join(scratch.path, 'templates'), maxBytes: 2 ** 30, leastFreeMiB: 0, log });
    slots = new SlotKeeper({
      ...{ size: 8, driver, barriers: ['capabilities', 'rlimits', 'seccomp'], cgroups: { pathsOf: () => [] } },
      layout: (number) => slotOf(number, { uidBase: 200_000, pool: { base: 0x64400000, prefix: 16 } }),
      network: Promise.resolve({ unavailable: 'not here' }),
      ...{ warmShells: 1, shellsAtOnce: 1, log },
    });
    slots.start();
    warm = new WarmClones({ slots, templates: store, driver, atOnce: 2, log });
  });
  afterEach(async () => {
    warm.stop();
    await slots.stop();
    driver.close();
    scratch.remove();
  });

  it('have clones restored before they are wanted; a claim makes one somebody, and the next takes its place', async () => {
    const id = await template();
    warm.keep(new Map([[id, 2]]));
    await until('two wait', () => warm.report().clones === 2);
    const waiting = pids(id);
    for (const pid of waiting) expect(readFileSync(`/proc/${pid}/maps`, 'utf8')).toContain(store.get(id)!.folder);
    expect(warm.report()).toEqual({ clones: 2, memoryMiB: 32 });
    const [one, two] = [await claim(id), await claim(id)];
    expect([one, two].map(({ identity }) => identity.pid)).toEqual(waiting);
    await Promise.all([one.booted, two.booted]);
    await until('two wait again', () => warm.report().clones === 2);
    for (const clone of [one, two]) {
      clone.kill();
      await clone.exited;
      clone.release();
    }
  });

  it('are empty without demand, without their template, and when the host needs the memory', async () => {
    const [one, other] = [await template(), await template()];
    const filled = async (wanted: [string, number][]): Promise<number[]> => {
      const sum = wanted.reduce((all, [, more]) => all + more, 0);
      warm.keep(new Map(wanted));
      await until('they wait', () => warm.report().clones === sum);
      return pids();
    };
    const gone = (ended: number[]) => until('their processes ended', () => !ended.some(isAlive));
    await gone(await filled([[one, 2]]).then((all) => (warm.keep(new Map()), all)));

    const both = await filled([
      [one, 2],
      [other, 1],
    ]);
    await store.remove(one);
    await gone(both.filter((pid) => !pids(other).includes(pid)));
    expect(pids(other)).toHaveLength(1);

    const left = pids();
    expect(warm.giveUp()).toBe(1);
    await gone(left);
    warm.keep(new Map([[other, 2]]));
    expect(warm.report().clones).toBe(0);
    await until('all slots are free', () => slots.free === 8);
  });

  it('are filled again once the host has had memory for a while, however often they were given up', async () => {
    const id = await template();
    const pools = new WarmClones({ slots, templates: store, driver, atOnce: 2, givenUpMs: 200, log });
    try {
      pools.keep(new Map([[id, 2]]));
      await until('two wait', () => pools.report().clones === 2);
      const givenUpAt = performance.now();
      expect(pools.giveUp()).toBe(2);
      await until('it is asked again before they are back', () => performance.now() > givenUpAt + 50);
      pools.giveUp();
      const again = performance.now();
      await until('two wait again', () => pools.report().clones === 2);
      expect(performance.now() - again).toBeGreaterThan(199);
    } finally {
      pools.stop();
    }
  });

  it('keep nothing of a template that cannot be restored, and say so', async () => {
    const id = await template();
    const said: string[] = [];
    const told = { ...log, warn: (_: unknown, text: string) => said.push(text) } as unknown as typeof log;
    const other = new WarmClones({
      ...{ slots, driver, atOnce: 1, log: told },
      templates: {
        get: (asked) => store.get(asked),
        onChange: () => undefined,
        whole: (held) => Promise.resolve({ ...held, folder: join(scratch.path, 'nowhere') }),
      },
    });
    other.keep(new Map([[id, 1]]));
    await until('it is said', () => said.length > 0);
    expect(said[0]).toMatch(/no clone could be made ready/);
    await until('the slot is free again', () => slots.free === 8);
    expect(other.report().clones).toBe(0);
    other.stop();
  });
});
