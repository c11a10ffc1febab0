import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MicrovmSpec, sortableId, type HostDescription, type HostFact, type Network } from '#protocol';
import { artefacts, kvmMissing, makeTmpfsDirectory } from '../../../test/support/kvm';
import { digestOf } from './microvms/run-folders';
import { findTool } from './network/tools';
import { NetworkLab, networkMissing, type Resident } from './network/testing/network-lab';
import type { BareRequest } from './testing/bare-agent';

const ROOT = join(__dirname, '../../..');
const missing = networkMissing() ?? kvmMissing(['vmm', 'canary', 'canaryDevices', 'binding']);
if (missing) process.stderr.write(`SKIPPED: what microVMs live in, with real VMMs: ${missing}\n`);

type Fact = HostFact & { microvmId: string };

/** A real agent in the lab's host. */
class LabAgent {
  #next = 0;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();

  private constructor(readonly child: ChildProcess) {
    child.on('message', ({ id, result, error }: { id: number; result: unknown; error?: string }) => {
      const waiting = this.#waiting.get(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
  }

  static async start(namespace: string, config: object): Promise<LabAgent> {
    const run = ['--conditions=jest', '-r', './test/support/ts-register.cjs', 'apps/hostd/src/testing/bare-agent.ts'];
    const child = spawn(findTool('nsenter')!, [`--net=/run/netns/${namespace}`, process.execPath, ...run], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], VOLLEY_TEST_CONFIG: JSON.stringify(config) },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => {
        throw new Error('the agent ended');
      }),
    ]);
    return new LabAgent(child);
  }

  ask<T>(request: BareRequest): Promise<T> {
    const id = ++this.#next;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.child.send({ id, request });
    });
  }

  async fact<T extends HostFact['type']>(microvmId: string, type: T): Promise<Extract<HostFact, { type: T }>> {
    let found: Fact | undefined;
    await until(`${type} of ${microvmId}`, async () => {
      found = (await this.ask<Fact[]>({ ask: 'facts' }))
        .filter((one) => one.microvmId === microvmId)
        .findLast((one) => one.type === type);
      return found !== undefined;
    });
    return found as unknown as Extract<HostFact, { type: T }>;
  }

  async says(microvmId: string, pattern: RegExp): Promise<RegExpMatchArray> {
    let text = '';
    await until(`${pattern} of ${microvmId}`, async () =>
      pattern.test((text = await this.ask<string>({ ask: 'console', microvmId }))),
    ).catch((error: Error) => {
      throw new Error(`${error.message}; its console:\n${text}`);
    });
    return pattern.exec(text)!;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let ids = 0;
const newId = (): string => sortableId(Date.now(), Buffer.from([...Array<number>(9).fill(3), ++ids]));
let commands = 0;

(missing ? describe.skip : describe)('what microVMs live in, with real VMMs', () => {
  let lab: NetworkLab;
  let scratch: string;
  let runDir: ReturnType<typeof makeTmpfsDirectory>;
  let agent: LabAgent;
  let isUp = false;
  const started = new Map<string, number>();
  let world: Resident;
  let host: Resident;

  const startAgent = async (more: object = {}): Promise<LabAgent> =>
    (agent = await LabAgent.start(lab.host, {
      natsUrl: 'nats://127.0.0.1:1',
      hostDir: join(scratch, 'host'),
      runDir: runDir.path,
      vmmPath: artefacts.vmm,
      canaryPath: artefacts.canary,
      canaryDevicesPath: artefacts.canaryDevices,
      warmShells: 2,
      slots: 64,
      ...more,
    }));
  const command = (order: object): Promise<{ accepted: boolean; reason?: string }> =>
    agent.ask({ ask: 'command', command: { commandId: `c${++commands}`, ...order } as never });
  const run = async (
    words: string,
    more: Partial<MicrovmSpec> = {},
    microvmId = newId(),
    epoch = 1,
  ): Promise<string> => {
    const spec = MicrovmSpec.parse({ image: 'canary', memoryMiB: 16, cmdline: words, ...more });
    expect(await command({ type: 'start', microvmId, epoch, spec })).toEqual({ accepted: true });
    started.set(microvmId, epoch);
    return microvmId;
  };
  const stop = async (microvmId: string, epoch = 1) => {
    await command({ type: 'stop', microvmId, epoch, timeoutMs: 2_000 });
    return (await agent.fact(microvmId, 'exited')).exit;
  };
  const erase = async (microvmId: string, epoch = 1) => {
    await command({ type: 'erase', microvmId, epoch });
    await agent.fact(microvmId, 'erased');
    started.delete(microvmId);
  };
  const network = (wishes: Partial<Network> = {}): Network => ({ egress: 'open', allow: [], forwards: [], ...wishes });

  beforeAll(async () => {
    lab = new NetworkLab(`a${process.pid}`);
    scratch = mkdtempSync(join(tmpdir(), 'volley-places-'));
    runDir = makeTmpfsDirectory();
    world = await lab.resident(lab.world);
    host = await lab.resident(lab.host);
    await startAgent();
    isUp = true;
  }, 60_000);

  afterAll(async () => {
    // Whatever a failed test left.
    for (const [microvmId, epoch] of isUp ? started : []) await erase(microvmId, epoch);
    if (isUp) await agent.ask({ ask: 'stop' });
    const traces = [
      lab.nft(lab.host, 'list', 'ruleset'),
      existsSync(`/run/netns/volley-${digestOf(join(scratch, 'host'))}`) ? 'its namespace' : '',
    ];
    if (isUp) await agent.end('SIGKILL');
    lab.close();
    rmSync(scratch, { recursive: true, force: true });
    runDir.remove();
    expect(traces.filter((trace) => trace !== '')).toEqual([]);
  }, 60_000);

  it('is told in the description of the host', async () => {
    const { jail, network } = await agent.ask<HostDescription>({ ask: 'description' });
    expect(network).toEqual({ available: true, pool: '100.64.0.0/16' });
    expect(jail!.barriers).toEqual(expect.arrayContaining(['capabilities', 'rlimits', 'seccomp']));
    await until('shells are warm', async () => (await agent.ask<{ shells: number }>({ ask: 'ready' })).shells === 2);
  });

  it('reaches the world from a guest, and not the host', async () => {
    const vm = await run('ping=203.0.113.5 ping=198.51.100.1 ping=169.254.169.254', {
      network: network(),
    });
    const { network: told } = await agent.fact(vm, 'started');
    expect(told).toMatchObject({ address: expect.stringMatching(/^100\.64\./) as string });
    await agent.says(vm, /ping 0 ok count=1 .*\n(.*ping 0 error reason=.*\n){2}/);
    expect(await stop(vm)).toMatchObject({ reason: 'powerOff' });
    await erase(vm);
  });

  it('keeps microVMs apart, and to what is listed', async () => {
    const one = await run('', { network: network() });
    const { network: told } = await agent.fact(one, 'started');
    const two = await run(`ping=203.0.113.5 ping=203.0.113.6 ping=${told!.address}`, {
      network: network({ egress: 'listed', allow: ['203.0.113.5', told!.address] }),
    });
    await agent.says(two, /ping 0 ok count=1 .*\n(.*ping 0 error reason=.*\n){2}/);
    for (const vm of [one, two]) await erase(vm);
  });

  it('keeps disks from start to start, to itself, and until it is erased', async () => {
    const disks = [{ sizeMiB: 8 }, { sizeMiB: 32, mount: '/data' }];
    const vm = await run('id=0 write=0,64,256,7 flush=0 write=1,4096,64,8 flush=1', { disks });
    await agent.says(vm, /id 0 ok serial=disk0 sectors=16384 read-only=0/);
    await agent.says(vm, /flush 1 ok/);
    await stop(vm);
    await run('verify=0,64,256,7 verify=1,4096,64,8', { disks }, vm, 2);
    await agent.says(vm, /verify 0 ok kib=256[^]*verify 1 ok kib=64/);
    const other = await run('zeros=0,64,256', { disks });
    await agent.says(other, /zeros 0 ok kib=256/);
    const folder = join(scratch, 'host/disks/microvms', vm);
    expect(readdirSync(folder).sort()).toEqual(['disk0.raw', 'disk1.base', 'disk1.overlay']);
    await erase(vm, 2);
    await erase(other);
    expect(existsSync(folder)).toBe(false);
  });

  it('makes a template of what runs, disks included, and clones with disks of their own; nothing of them stays', async () => {
    const disks = [{ sizeMiB: 8 }, { sizeMiB: 32, mount: '/data' }];
    const source = await run('write=0,64,256,7 write=1,4096,64,8 flush=0 flush=1', { disks });
    await agent.says(source, /flush 1 ok/);
    const diskOf = (id: string, file: string): string => join(scratch, 'host/disks/microvms', id, file);
    const templateId = newId();
    const template = (file: string): string => join(scratch, 'host/templates', templateId, file);
    expect(await command({ type: 'snapshot', microvmId: source, epoch: 1, templateId })).toEqual({ accepted: true });
    const { digest, as, copy } = await agent.fact(source, 'snapshotTaken');
    expect(as).toBe('running');
    expect(copy!.roundBytes.length).toBeGreaterThan(0);
    expect(readdirSync(join(scratch, 'host/templates', templateId)).sort()).toEqual(
      ['disk0.raw', 'disk1.base', 'disk1.overlay', 'manifest.json', 'memory', 'state'].sort(),
    );
    const written = readFileSync(template('disk0.raw'));
    expect(written.subarray(64 * 1_024, 65 * 1_024).some((byte) => byte !== 0)).toBe(true);
    expect(written.equals(readFileSync(diskOf(source, 'disk0.raw')))).toBe(true);

    const clones = await Promise.all([1, 2].map(() => run('', { disks, template: `${templateId}@${digest}` })));
    const generations = await Promise.all(
      clones.map(async (id) => (await agent.says(id, /generation ([0-9a-f]{32})/))[1]),
    );
    expect(new Set(generations).size).toBe(2);
    for (const id of clones) {
      expect(readFileSync(diskOf(id, 'disk0.base')).equals(written)).toBe(true);
      // What one of them writes goes to a file that is its alone.
      expect(statSync(diskOf(id, 'disk0.overlay')).nlink).toBe(1);
      expect(statSync(diskOf(id, 'disk1.overlay')).nlink).toBe(1);
      expect(readFileSync(diskOf(id, 'disk1.overlay')).equals(readFileSync(template('disk1.overlay')))).toBe(true);
    }
    await agent.ask({ ask: 'removeTemplate', templateId });
    expect(readdirSync(join(scratch, 'host/templates'))).toEqual(['drafts']);
    expect(readdirSync(join(scratch, 'host/templates/drafts'))).toEqual([]);
    // They have all that they need.
    for (const id of clones) expect(await stop(id)).toMatchObject({ reason: 'powerOff' });
    for (const id of [source, ...clones]) {
      await erase(id);
      expect(existsSync(join(scratch, 'host/disks/microvms', id))).toBe(false);
    }
    expect(await agent.ask({ ask: 'audit' })).toBe(0);
  });

  it('changes what runs', async () => {
    const vm = await run('balloon rng=64', { balloon: true, rng: true, disks: [{ sizeMiB: 8 }], metadata: { a: '1' } });
    await agent.says(vm, /rng 0 ok bytes=64/);
    await agent.ask({ ask: 'tune', microvmId: vm, tuning: { kind: 'balloon', mib: 2 } });
    await agent.says(vm, /balloon 0 ok pages=512/);
    await agent.ask({
      ask: 'tune',
      microvmId: vm,
      tuning: { kind: 'limit', device: 'disk0', limit: { bytesPerSecond: 1_000_000 } },
    });
    await agent.ask({ ask: 'tune', microvmId: vm, tuning: { kind: 'limit', device: 'console', limit: {} } });
    await agent.ask({ ask: 'tune', microvmId: vm, tuning: { kind: 'metadata', values: { b: '2' } } });
    const refused = (tuning: object) => agent.ask({ ask: 'tune', microvmId: vm, tuning: tuning as never });
    await expect(refused({ kind: 'limit', device: 'network', limit: {} })).rejects.toThrow(
      'this microVM has no network',
    );
    await expect(refused({ kind: 'limit', device: 'disk1', limit: {} })).rejects.toThrow('this microVM has no disk1');
    await expect(refused({ kind: 'balloon', mib: 16 })).rejects.toThrow(/cannot take 16 MiB/);
    await erase(vm);
  });

  it('tells how the program in a guest ended', async () => {
    const vm = await run(`tell=${0x01000003} exit=poweroff`, { rng: true });
    expect((await agent.fact(vm, 'exited')).exit).toMatchObject({ reason: 'programFailed', program: { code: 3 } });
    await erase(vm);
  });

  it('outlives the agent: network, forwards and limits go on, and the next agent takes them over', async () => {
    const forwards = [{ protocol: 'udp' as const, hostPort: 18_007, guestPort: 7 }];
    const vm = await run('', { network: network({ forwards, egress: 'listed' }), vsock: true });
    await agent.fact(vm, 'started');
    await until('the guest answers', async () => (await world.udp('198.51.100.1', 18_007)) === 'x');
    await agent.end('SIGKILL');
    expect(await world.udp('198.51.100.1', 18_007)).toBe('x');
    await startAgent();
    expect(await world.udp('198.51.100.1', 18_007)).toBe('x');
    expect(await host.udp('198.51.100.1', 18_007)).toBe('x');
    const taken = await command({
      type: 'start',
      microvmId: newId(),
      epoch: 1,
      spec: MicrovmSpec.parse({ image: 'canary', memoryMiB: 16, network: network({ forwards }) }),
    });
    expect(taken).toEqual({
      accepted: false,
      reason: 'udp port 18007 of this host is handed on to another microVM already',
    });
    expect(await agent.ask({ ask: 'audit' })).toBe(0);
    await erase(vm);
    await until('the slot is clean', async () => (await agent.ask<{ free: number }>({ ask: 'ready' })).free >= 62);
    expect(await world.udp('198.51.100.1', 18_007, 150)).toBe('timeout');
  });

  it('is limited by cgroups where the host has them, and scrubbed for the next tenant', async () => {
    const vm = await run('', { network: network() });
    const { pid } = await agent.fact(vm, 'started');
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'latin1');
    if (!groups.includes('/volley-')) process.stderr.write('SKIPPED: limits of a VMM: no cgroups here\n');
    else expect(groups).toMatch(/\/volley-[0-9a-f]{12}\/s\d+\n/);
    await erase(vm);
    const next = await run('ping=203.0.113.5', { network: network() });
    await agent.says(next, /ping 0 ok/);
    await erase(next);
    expect(await agent.ask({ ask: 'audit' })).toBe(0);
  });
});
