import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import { parseProcessStat } from '#density';
import { CpuReservations } from '#microvm';
import {
  DensityReport,
  densityReport,
  heartbeat,
  hostCommand,
  hostLog,
  MicrovmSample,
  microvmSamples,
  MicrovmSpec,
  registerHost,
  reportFact,
  reportStaleCommand,
  sortableId,
  subjectFor,
  type Operation,
  type RequestOf,
} from '#protocol';
import { kvmMissing, artefacts, makeTmpfsDirectory } from '../../../test/support/kvm';
import { natsServerMissing, startNatsServer, type NatsServer } from '../../../test/support/nats-server';

const ROOT = join(__dirname, '../../..');
const HOST_ID = 'integration-host';
const missing = kvmMissing() ?? natsServerMissing();
if (missing) process.stderr.write(`SKIPPED: hostd with real VMMs: ${missing}\n`);
const describeReal = missing ? describe.skip : describe;

type Fact = RequestOf<typeof reportFact>;
type FactType = Fact['fact']['type'];

let ids = 0;
const newId = (): string => sortableId(Date.now(), Buffer.from([...Array<number>(9).fill(7), ++ids]));

/** A controller that takes what it is told, and knows nothing else. */
class ScriptedController {
  readonly facts: Fact[] = [];
  readonly stale: RequestOf<typeof reportStaleCommand>[] = [];
  readonly registrations: RequestOf<typeof registerHost>[] = [];
  beats = 0;
  leaseMs = 60_000;
  /** Answers no facts while it is set. */
  deaf = false;
  forgetful = false;
  readonly bus: BusClient;

  constructor(readonly nats: NatsConnection) {
    this.bus = new BusClient(nats, pino({ level: 'silent' }));
    this.#answer(registerHost, (request) => {
      this.registrations.push(request);
      return { state: 'ready', leaseMs: this.leaseMs, heartbeatMs: 100 };
    });
    this.#answer(heartbeat, () => {
      this.beats++;
      const unknown = this.forgetful;
      this.forgetful = false;
      return { unknown, leaseMs: this.leaseMs };
    });
    this.#answer(reportStaleCommand, (request) => {
      this.stale.push(request);
      return {};
    });
    this.#answer(reportFact, (request) => {
      if (this.deaf) return undefined;
      const isNew = !this.facts.some(({ factId }) => factId === request.factId);
      if (isNew) this.facts.push(request);
      return { recorded: true };
    });
  }

  #answer<O extends Operation>(operation: O, answer: (request: RequestOf<O>) => object | undefined): void {
    this.nats.subscribe(subjectFor(operation.subject, { hostId: HOST_ID }), {
      callback: (_, message) => {
        const reply = answer(operation.request.parse(message.json()) as RequestOf<O>);
        if (reply) message.respond(JSON.stringify(reply));
      },
    });
  }

  async send(request: RequestOf<typeof hostCommand>): Promise<void> {
    const reply = await this.bus.call(hostCommand, request, { values: { hostId: HOST_ID }, deadlineMs: 60_000 });
    expect(reply).toEqual({ accepted: true });
  }

  start(microvmId: string, cmdline = '', more: Partial<MicrovmSpec> = {}): Promise<void> {
    const spec = MicrovmSpec.parse({ image: 'canary', memoryMiB: 16, cmdline, ...more });
    return this.send({ type: 'start', commandId: `start-${microvmId}`, microvmId, epoch: 1, spec });
  }

  order(type: 'pause' | 'resume' | 'erase' | 'verify', microvmId: string): Promise<void> {
    return this.send({ type, commandId: `${type}-${microvmId}`, microvmId, epoch: 1 });
  }

  stop(microvmId: string, timeoutMs: number): Promise<void> {
    return this.send({ type: 'stop', commandId: `stop-${microvmId}`, microvmId, epoch: 1, timeoutMs });
  }

  toldOf(microvmId: string): Fact['fact'][] {
    return this.facts.filter((one) => one.microvmId === microvmId).map(({ fact }) => fact);
  }

  async heard<T extends FactType>(microvmId: string, type: T): Promise<Extract<Fact['fact'], { type: T }>> {
    const find = () => this.facts.find((one) => one.microvmId === microvmId && one.fact.type === type)?.fact;
    await until(() => find() !== undefined, `${type} of ${microvmId}`);
    return find() as Extract<Fact['fact'], { type: T }>;
  }
}

async function until(condition: () => boolean, what: string, ms = 60_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function startTicksOf(pid: number): string | undefined {
  try {
    const stat = parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
    return stat && stat.state !== 'Z' ? stat.startTicks : undefined;
  } catch {
    return undefined;
  }
}

describeReal('hostd with real VMMs', () => {
  let nats: NatsServer;
  let controller: ScriptedController;
  let hostDir: string;
  let runDir: ReturnType<typeof makeTmpfsDirectory>;
  let hostd: ChildProcess | undefined;
  let log = '';

  const spawnHostd = (more: Record<string, string> = {}): ChildProcess => {
    const run = ['--conditions=jest', '-r', './test/support/ts-register.cjs', 'apps/hostd/src/main.ts'];
    const child = spawn(process.execPath, run, {
      cwd: ROOT,
      env: {
        PATH: process.env['PATH'],
        VOLLEY_NATS_URL: nats.url,
        VOLLEY_HOST_ID: HOST_ID,
        VOLLEY_HOST_DIR: hostDir,
        VOLLEY_RUN_DIR: runDir.path,
        VOLLEY_VMM_PATH: artefacts.vmm,
        VOLLEY_CANARY_PATH: artefacts.canary,
        VOLLEY_OVERCOMMIT_CPU: '500',
        // The network of this machine is nothing to play with.
        VOLLEY_NETWORK: 'off',
        VOLLEY_REPORT_INTERVAL_MS: '100',
        VOLLEY_SAMPLE_INTERVAL_MS: '200',
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
    return child;
  };

  const startHostd = async (): Promise<void> => {
    const registrations = controller.registrations.length;
    const child = spawnHostd();
    hostd = child;
    const isUp = (): boolean => controller.registrations.length > registrations;
    await until(() => isUp() || child.exitCode !== null, 'hostd registers', 25_000);
    if (!isUp()) throw new Error(`hostd ended with ${child.exitCode}; it said:\n${log}`);
  };

  const endHostd = async (signal: NodeJS.Signals): Promise<number | null> => {
    const child = hostd!;
    hostd = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return child.exitCode;
  };

  /** What is left in the host's run folder. */
  const folders = (): string[] =>
    readdirSync(runDir.path).flatMap((agent) =>
      readdirSync(join(runDir.path, agent)).filter((name) => !['lease', 'metadata.sock', 'vsock'].includes(name)),
    );

  const running = async (microvmId: string, cmdline = '', more: Partial<MicrovmSpec> = {}): Promise<number> => {
    await controller.start(microvmId, cmdline, more);
    return (await controller.heard(microvmId, 'started')).pid;
  };

  beforeAll(async () => {
    nats = await startNatsServer();
    controller = new ScriptedController(await connectNats({ servers: nats.url, name: 'scripted-controller' }));
    hostDir = mkdtempSync(join(tmpdir(), 'volley-host-'));
    runDir = makeTmpfsDirectory('volley-run-');
    await startHostd();
  }, 40_000);

  // A test that fails must not leave processes behind.
  const killHostdAtExit = (): void => void hostd?.kill('SIGKILL');
  process.once('exit', killHostdAtExit);

  afterAll(async () => {
    process.removeListener('exit', killHostdAtExit);
    const alive = new Set<string>();
    for (const { microvmId, fact } of controller.facts) {
      if (fact.type === 'started') alive.add(microvmId);
      if (fact.type === 'exited') alive.delete(microvmId);
    }
    if (hostd && hostd.exitCode === null) {
      for (const microvmId of alive) await controller.stop(microvmId, 0).catch(() => undefined);
      for (const microvmId of alive) await controller.heard(microvmId, 'exited').catch(() => undefined);
      await endHostd('SIGTERM');
    }
    await controller.nats.close();
    await nats.stop();
    runDir.remove();
    rmSync(hostDir, { recursive: true, force: true });
  }, 40_000);

  it('registers with what it is and what it offers', () => {
    const { description, inventory } = controller.registrations[0]!;
    expect(description).toMatchObject({ hostId: HOST_ID, kvm: { available: true }, images: ['canary'] });
    expect(description.slots).toBeGreaterThan(0);
    expect(inventory).toEqual([]);
  });

  it('starts, pauses, resumes and stops a microVM, gives its console, and erases it', async () => {
    const vm = newId();
    const pid = await running(vm);
    expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toContain(vm);
    const { timings } = await controller.heard(vm, 'started');
    const order = [
      timings.receivedAt,
      timings.admittedAt,
      timings.launchedAt,
      timings.vmmEnteredAt,
      timings.guestRunAt,
      timings.guestBootedAt,
    ];
    expect(order).toEqual([...order].sort((a, b) => a - b));
    await controller.order('pause', vm);
    await controller.heard(vm, 'pausedOnHost');
    await controller.order('verify', vm);
    expect(await controller.heard(vm, 'observed')).toMatchObject({ as: 'paused', pid });
    await controller.order('resume', vm);
    await controller.heard(vm, 'resumedOnHost');
    const read = () => controller.bus.call(hostLog, { microvmId: vm }, { values: { hostId: HOST_ID } });
    const alive = await read();
    expect(alive.text.length).toBeGreaterThan(0);
    await controller.stop(vm, 5_000);
    expect((await controller.heard(vm, 'exited')).exit).toMatchObject({ reason: 'powerOff' });
    expect(startTicksOf(pid)).toBeUndefined();
    const left = await read();
    expect(left.text.startsWith(alive.text)).toBe(true);
    await controller.order('erase', vm);
    await controller.heard(vm, 'erased');
    expect(folders()).toEqual([]);
    await expect(read()).rejects.toMatchObject({ code: 'notFound' });
  });

  it('has the kernel keep CPU time for guaranteed vCPUs that need little, and gives it back before it ends', async () => {
    const kernel = new CpuReservations();
    const vcpuOf = (pid: number): number =>
      readdirSync(`/proc/${pid}/task`)
        .map(Number)
        .find((tid) => readFileSync(`/proc/${pid}/task/${tid}/comm`, 'latin1').startsWith('vcpu:'))!;
    const [calm, busy, bestEffort, limited] = [newId(), newId(), newId(), newId()];
    const pid = await running(calm);
    const seldom = vcpuOf(pid);
    const others = [
      vcpuOf(await running(busy, 'burn=100 quiet')),
      vcpuOf(await running(bestEffort, '', { class: 'bestEffort' })),
      vcpuOf(await running(limited, '', { limits: { cpuPercent: 50 } })),
    ];
    // By this kernel, or by an agent that is starved here.
    const refused = (): boolean => /no CPU time reserved|too late to look/.test(log);
    const waited = until(() => kernel.read(seldom) !== undefined, 'CPU time is reserved', 30_000);
    await waited.catch((error: unknown) => {
      if (!refused()) throw error;
      console.warn(`SKIPPED: no CPU time is reserved here, and the agent says why:\n${log}`);
    });
    const reservation = kernel.read(seldom);
    if (reservation) expect(reservation).toMatchObject({ periodMs: 1_000 });
    for (const tid of others) expect(kernel.read(tid)).toBeUndefined();
    expect(await endHostd('SIGTERM')).toBe(0);
    expect(kernel.read(seldom)).toBeUndefined();
    expect(startTicksOf(pid)).toBeDefined();
    await startHostd();
    for (const vm of [calm, busy, bestEffort, limited]) {
      await controller.stop(vm, 0);
      await controller.heard(vm, 'exited');
    }
  });

  it('refuses an order of an epoch that is over, and tells of it once', async () => {
    const microvmId = newId();
    const spec = MicrovmSpec.parse({ image: 'canary', memoryMiB: 16 });
    const order = (more: object, epoch: number) =>
      controller.bus.call(hostCommand, { microvmId, epoch, ...more } as RequestOf<typeof hostCommand>, {
        values: { hostId: HOST_ID },
      });
    expect(await order({ type: 'start', commandId: `start-${microvmId}`, spec }, 3)).toEqual({ accepted: true });
    const { pid } = await controller.heard(microvmId, 'started');
    const reason = 'epoch 2 is over on this host, which has seen epoch 3';
    const stop = { type: 'stop', commandId: `late-${microvmId}`, timeoutMs: 0 };
    for (let i = 0; i < 2; i++) expect(await order(stop, 2)).toEqual({ accepted: false, reason });
    const start = { type: 'start', commandId: `again-${microvmId}`, spec };
    expect(await order(start, 1)).toMatchObject({ accepted: false });
    await until(() => controller.stale.length > 1, 'both are told');
    expect(controller.stale).toEqual([
      { microvmId, epoch: 2, commandId: stop.commandId, type: 'stop', seenEpoch: 3 },
      { microvmId, epoch: 1, commandId: start.commandId, type: 'start', seenEpoch: 3 },
    ]);
    expect(startTicksOf(pid)).toBeDefined();
    await order({ type: 'stop', commandId: `end-${microvmId}`, timeoutMs: 0 }, 3);
    await controller.heard(microvmId, 'exited');
  });

  it('reports a VMM that is killed from outside', async () => {
    const vm = newId();
    const pid = await running(vm);
    process.kill(pid, 'SIGKILL');
    expect((await controller.heard(vm, 'exited')).exit).toMatchObject({ reason: 'killed' });
  });

  it('adopts its VMMs after kill -9: same process, still obeying', async () => {
    const vms = [newId(), newId(), newId()];
    const pids = await Promise.all(vms.map((vm) => running(vm)));
    const ticks = pids.map(startTicksOf);
    await endHostd('SIGKILL');
    process.kill(pids[2]!, 'SIGKILL');
    await until(() => startTicksOf(pids[2]!) === undefined, 'the third is gone');
    await startHostd();
    expect((await controller.heard(vms[2]!, 'exited')).exit.reason).toMatch(/killed|lost/);
    expect(pids.slice(0, 2).map(startTicksOf)).toEqual(ticks.slice(0, 2));
    const inventory = controller.registrations.at(-1)!.inventory;
    expect(inventory).toEqual(
      expect.arrayContaining([0, 1].map((i) => ({ microvmId: vms[i], epoch: 1, as: 'running', pid: pids[i] }))),
    );
    await controller.order('pause', vms[0]!);
    await controller.heard(vms[0]!, 'pausedOnHost');
    await controller.stop(vms[1]!, 5_000);
    expect((await controller.heard(vms[1]!, 'exited')).exit.reason).toBe('powerOff');
  });

  it('loses no start, and starts nothing twice, when it is killed among them', async () => {
    const vms = Array.from({ length: 30 }, newId);
    const sent = Promise.allSettled(vms.map((vm) => controller.start(vm)));
    await until(
      () => controller.facts.some(({ microvmId, fact }) => vms.includes(microvmId) && fact.type === 'started'),
      'one runs',
    );
    await endHostd('SIGKILL');
    await sent;
    await startHostd();
    // What the controller would do: say it again, under the same command id.
    await Promise.all(vms.map((vm) => controller.start(vm)));
    for (const vm of vms) await controller.heard(vm, 'started');
    for (const vm of vms) {
      expect(controller.toldOf(vm)).toMatchObject([{ type: 'started' }]);
      const { pid } = await controller.heard(vm, 'started');
      expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toContain(vm);
    }
    expect(vmmsOf(vms)).toHaveLength(30);
    for (const vm of vms) await controller.stop(vm, 0);
    for (const vm of vms) await controller.heard(vm, 'exited');
    expect(vmmsOf(vms)).toEqual([]);
  });

  it('keeps telling a fact until it is heard, across its own restart', async () => {
    const vm = newId();
    controller.deaf = true;
    await controller.start(vm, '', {});
    await controller.stop(vm, 0);
    await endHostd('SIGKILL');
    await startHostd();
    controller.deaf = false;
    await controller.heard(vm, 'exited');
  });

  it('keeps its VMMs through a loss of NATS and registers again', async () => {
    const vm = newId();
    const pid = await running(vm);
    const before = controller.registrations.length;
    await nats.restart();
    await until(() => controller.registrations.length > before, 'registers again');
    expect(startTicksOf(pid)).toBeDefined();
    const again = controller.registrations.length;
    controller.forgetful = true;
    await until(() => controller.registrations.length > again, 'registers when it is not known');
    await controller.stop(vm, 0);
    await controller.heard(vm, 'exited');
  });

  it('measures itself and its microVMs', async () => {
    const vm = newId();
    await running(vm);
    const reports: DensityReport[] = [];
    const samples: MicrovmSample[] = [];
    controller.nats.subscribe(densityReport(HOST_ID), {
      callback: (_, m) => void reports.push(DensityReport.parse(m.json())),
    });
    controller.nats.subscribe(microvmSamples(HOST_ID), {
      callback: (_, m) =>
        void samples.push(...m.json<{ samples: unknown[] }>().samples.map((one) => MicrovmSample.parse(one))),
    });
    await until(() => samples.filter(({ id }) => id === vm).length >= 2 && reports.length > 3, 'measured twice');
    const report = reports.at(-1)!;
    expect(report.commitment.memoryMiB).toBeGreaterThanOrEqual(16);
    expect(report.used.memoryMiB).toBeGreaterThan(0);
    expect(report.headroom.slots).toBe(report.slots.total - report.slots.used);
    const sample = samples.find(({ id }) => id === vm)!;
    expect(sample.privateKiB).toBeGreaterThan(sample.overheadKiB);
    expect(sample.overheadKiB).toBeGreaterThan(0);
    await controller.stop(vm, 0);
    await controller.heard(vm, 'exited');
  });

  it('goes away on SIGTERM without taking its VMMs along, and fences at the end of its lease', async () => {
    const keep = newId();
    const move = newId();
    const [keepPid, movePid] = [await running(keep), await running(move, '', { onHostLoss: 'reschedule' })];
    expect(await endHostd('SIGTERM')).toBe(0);
    expect(startTicksOf(movePid)).toBeDefined();
    controller.leaseMs = 400;
    await startHostd();
    await controller.nats.flush();
    // Cut off: nobody renews the lease any more.
    await nats.kill9();
    await until(() => startTicksOf(movePid) === undefined, 'the one that may move is ended');
    expect(startTicksOf(keepPid)).toBeDefined();
    controller.leaseMs = 60_000;
    const before = controller.registrations.length;
    await nats.restart();
    await until(() => controller.registrations.length > before, 'registers again');
    expect((await controller.heard(move, 'exited')).exit).toMatchObject({ reason: 'fenced' });
    await controller.stop(keep, 0);
    await controller.heard(keep, 'exited');
  });

  it('ends and removes what no record of its journal owns, and nothing else', async () => {
    const kept = newId();
    const keptPid = await running(kept);
    await endHostd('SIGKILL');
    const journal = readFileSync(join(hostDir, 'journal'));
    await startHostd();
    const orphan = newId();
    const orphanPid = await running(orphan);
    await endHostd('SIGKILL');
    // As after a restore from a backup: the journal does not know the second one.
    writeFileSync(join(hostDir, 'journal'), journal);
    await startHostd();
    await until(() => startTicksOf(orphanPid) === undefined, 'the orphan is ended');
    await until(() => folders().every((name) => !name.startsWith(orphan)), 'its folder is removed');
    expect(startTicksOf(keptPid)).toBeDefined();
    controller.facts.push({
      factId: `${orphan}-reclaimed`,
      microvmId: orphan,
      at: 0,
      fact: { type: 'exited', hostId: HOST_ID, epoch: 1, exit: { reason: 'lost', message: 'reclaimed', at: 0 } },
    });
    await controller.stop(kept, 0);
    await controller.heard(kept, 'exited');
  });

  it('refuses a second agent on its directory, and an id that is not its own', async () => {
    const refusal = async (more: Record<string, string> = {}): Promise<unknown> =>
      // When all that it said has come, too.
      (await once(spawnHostd(more), 'close'))[0];
    expect(await refusal()).toBe(1);
    expect(log).toContain('another host agent works on');
    expect(await refusal({ VOLLEY_HOST_ID: 'somebody-else' })).toBe(1);
    expect(log).toContain(`is the directory of host ${HOST_ID}`);
    expect(await refusal({ VOLLEY_SLOTS: 'many' })).toBe(78);
    expect(log).toContain('--slots or VOLLEY_SLOTS');
  });

  function vmmsOf(microvmIds: string[]): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => {
        try {
          const [argv0, id] = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
          return argv0 === 'volley-vmm' && microvmIds.includes(id!) && startTicksOf(pid) !== undefined;
        } catch {
          return false;
        }
      });
  }
});
