import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import {
  controllerVitals,
  createMicrovm,
  MicrovmSpec,
  OperationError,
  placeMicrovm,
  sortableId,
  type MicrovmSpecInput,
  type ReplyOf,
} from '#protocol';
import { CliError } from '../../errors';
import { inFlight } from '../in-flight';
import { distribution, round, type Distribution } from '../percentiles';
import { BenchPlane } from './bench-plane';
import { cpuShares, processCpu } from './process-cpu';
import { RecordTally, type StartSteps } from './record-tally';

export interface ControlParameters {
  controllers: number;
  hosts: number;
  /** microVMs of the first part, which stay. */
  microvms: number;
  /** Creates in flight in the first part. */
  concurrency: number;
  /** Load of the part with moderate load, as a share of the pace found. */
  moderate: number;
  /** Length of the overload, s. */
  overloadSeconds: number;
  /** Load of the overload, as a multiple of the pace found. */
  overload: number;
}

export interface ControlResult {
  /** All at once: so many in flight until all run. */
  sustained: {
    perSecond: number;
    wallMs: number;
    cpuOf: Record<string, number>;
    acceptedToDecided: Distribution | null;
    acceptedToRunning: Distribution | null;
  };
  /** Memory of a controller that holds them all idle. */
  memory: { microvms: number; bytesEach: Record<string, number>; residentMiB: Record<string, number> };
  /** At a part of that pace, arriving at even intervals. */
  moderate: {
    perSecond: number;
    acceptedToDecided: Distribution | null;
    acceptedToRunning: Distribution | null;
  };
  /** The placement service alone, asked at even intervals while all hosts report: from asking to the stored decision. */
  placement: { perSecond: number; asked: Distribution | null };
  /** One controller is killed under that load. */
  takeOver: { longestStartMs: number; startsAfterKill: number; lost: number };
  overload: {
    offeredPerSecond: number;
    acceptedPerSecond: number;
    goodputPerSecond: number;
    /** Of the pace found, percent. */
    goodputPercent: number;
    accepted: number;
    ran: number;
    /** By error code. */
    turnedAway: Record<string, number>;
    /** Of those turned away, how many were told when to come back. */
    toldWhen: number;
    answer: Distribution | null;
  };
  /** The same load, while all controllers are frozen for a moment: whether a fleet that has fallen behind comes out of it. */
  afterStall: {
    frozenMs: number;
    /** From so long after they went on, ms; until then it may catch up. */
    measuredAfterMs: number;
    goodputPerSecond: number;
    /** Of the pace found, percent. */
    goodputPercent: number;
    accepted: number;
    lost: number;
    /** By error code. */
    turnedAway: Record<string, number>;
  };
}

const SPEC: MicrovmSpecInput = { image: 'canary', memoryMiB: 4 };
const VCPUS_PER_CPU = 64;
const CREATE_MS = 15_000;
/** What the whole path has to take, so that placement is measured where it is used. */
const PLACED_EACH_SECOND = 1_000;
const SETTLE_MS = 120_000;
/** Longer than a controller's lease, so that it finds all its work given up. */
const STALL = { beforeMs: 5_000, frozenMs: 4_000, catchUpMs: 5_000, measuredMs: 15_000 };

/** Measures the control plane alone: real nats-server, controllers and placement, scripted hosts. */
export async function benchControl(
  parameters: ControlParameters,
  progress: (text: string) => void,
): Promise<ControlResult> {
  const plane = new BenchPlane();
  try {
    progress(`starting ${parameters.controllers} controllers, placement and ${parameters.hosts} hosts`);
    await plane.start({ ...parameters, vcpusPerCpu: VCPUS_PER_CPU });
    const nats = await connectNats({ servers: plane.url, name: 'bench-control' });
    const bench = new ControlBench(plane, new BusClient(nats, pino({ level: 'silent' })), parameters, progress);
    try {
      return await bench.run();
    } finally {
      bench.close();
      await nats.close();
    }
  } finally {
    await plane.stop();
  }
}

class ControlBench {
  readonly #tally = new RecordTally();
  readonly #controllers: string[];

  constructor(
    private readonly plane: BenchPlane,
    private readonly bus: BusClient,
    private readonly parameters: ControlParameters,
    private readonly progress: (text: string) => void,
  ) {
    this.#controllers = plane.controllers(parameters.controllers);
  }

  close(): void {
    this.#tally.close();
  }

  async run(): Promise<ControlResult> {
    await this.#tally.open(this.bus.connection);
    const empty = await this.#vitals();
    await this.#warmUp();
    const sustained = await this.#sustained();
    const memory = await this.#memory(empty);
    const moderate = await this.#moderate(sustained.perSecond);
    const placement = await this.#placement();
    const takeOver = await this.#takeOver(sustained.perSecond);
    const overload = await this.#overload(sustained.perSecond);
    const afterStall = await this.#stall(sustained.perSecond);
    return { sustained, memory, moderate, placement, takeOver, overload, afterStall };
  }

  async #create(deadlineMs = CREATE_MS, id = newId()): Promise<string> {
    const options = { deadlineMs, repeatAfterMs: 1_000 };
    const { microvm } = await this.bus.call(createMicrovm, { spec: SPEC, id, requestedAt: Date.now() }, options);
    return microvm.id;
  }

  /** Placement has to have heard of the hosts, and every process to have compiled what it will need. */
  async #warmUp(): Promise<void> {
    const count = 500;
    await inFlight(count, 32, never(), async () => void (await this.#create()));
    if (!(await this.#tally.untilRunning(count, SETTLE_MS)))
      throw new CliError('the control plane does not start microVMs');
  }

  async #sustained(): Promise<ControlResult['sustained']> {
    const { microvms, concurrency } = this.parameters;
    this.progress(`${microvms} creates, ${concurrency} in flight`);
    const before = new Set(this.#tally.starts.keys());
    const cpuBefore = processCpu(this.plane.pids());
    const startedMs = performance.now();
    // A create is in flight until it runs, so that the load is what the whole path can take.
    await inFlight(microvms, concurrency, never(), async () => this.#tally.untilRuns(await this.#create()));
    const wallMs = performance.now() - startedMs;
    const cpuOf = cpuShares(cpuBefore, processCpu(this.plane.pids()), wallMs);
    return {
      perSecond: round((microvms / wallMs) * 1_000),
      wallMs: round(wallMs),
      cpuOf,
      ...this.#latencies((id) => !before.has(id)),
    };
  }

  async #memory(empty: Map<string, Vitals>): Promise<ControlResult['memory']> {
    const full = await this.#vitals();
    const bytesEach: Record<string, number> = {};
    const residentMiB: Record<string, number> = {};
    let microvms = 0;
    for (const [id, { heapUsedBytes, residentBytes, microvms: held }] of full) {
      bytesEach[id] = Math.round((heapUsedBytes - empty.get(id)!.heapUsedBytes) / held);
      residentMiB[id] = round(residentBytes / 2 ** 20);
      microvms = held;
    }
    return { microvms, bytesEach, residentMiB };
  }

  async #moderate(pace: number): Promise<ControlResult['moderate']> {
    const perSecond = round(pace * this.parameters.moderate);
    this.progress(`${perSecond} creates per second for 10 s`);
    const before = new Set(this.#tally.starts.keys());
    const { calls } = await arrivals(perSecond, 10_000, () => this.#create());
    await this.#settle(acceptedOf(await Promise.allSettled(calls)));
    return { perSecond, ...this.#latencies((id) => !before.has(id)) };
  }

  async #placement(): Promise<ControlResult['placement']> {
    this.progress(`${PLACED_EACH_SECOND} placements per second for 10 s`);
    const spec = MicrovmSpec.parse(SPEC);
    const { calls, answers } = await arrivals(PLACED_EACH_SECOND, 10_000, async () => {
      const id = newId();
      await this.bus.call(placeMicrovm, { microvmId: id, epoch: 1, decisionId: id, spec, excluded: [] });
    });
    await Promise.all(calls);
    return { perSecond: PLACED_EACH_SECOND, asked: distribution(answers) ?? null };
  }

  async #takeOver(pace: number): Promise<ControlResult['takeOver']> {
    const perSecond = round(pace * this.parameters.moderate * 0.5);
    this.progress(`${perSecond} creates per second, and one controller is killed`);
    const before = new Set(this.#tally.starts.keys());
    const arriving = arrivals(perSecond, 12_000, () => this.#create());
    await pause(4_000);
    const victim = this.#controllers.at(-1)!;
    const killedAt = Date.now();
    await this.plane.kill9(victim);
    const accepted = acceptedOf(await Promise.allSettled((await arriving).calls));
    await this.#settle(accepted);
    const starts = [...this.#tally.starts].filter(([id]) => !before.has(id)).map(([, steps]) => steps);
    const ran = starts.filter(({ runningAt }) => runningAt !== undefined);
    await this.plane.restart(victim);
    return {
      longestStartMs: round(Math.max(...ran.map((steps) => steps.runningAt! - steps.acceptedAt))),
      startsAfterKill: ran.filter(({ acceptedAt }) => acceptedAt > killedAt).length,
      lost: accepted.length - this.#ran(accepted),
    };
  }

  async #overload(pace: number): Promise<ControlResult['overload']> {
    const { overload, overloadSeconds } = this.parameters;
    const offered = round(pace * overload);
    this.progress(`${offered} creates per second for ${overloadSeconds} s`);
    const from = this.#tally.running;
    const startedMs = performance.now();
    const { calls, answers } = await arrivals(offered, overloadSeconds * 1_000, () => this.#create());
    const ranInTime = this.#tally.running - from;
    const wallMs = performance.now() - startedMs;
    const outcomes = await Promise.allSettled(calls);
    const accepted = acceptedOf(outcomes);
    await this.#settle(accepted);
    const { turnedAway, toldWhen } = refusalsAmong(outcomes);
    const goodput = (ranInTime / wallMs) * 1_000;
    return {
      offeredPerSecond: round((calls.length / wallMs) * 1_000),
      acceptedPerSecond: round((accepted.length / wallMs) * 1_000),
      goodputPerSecond: round(goodput),
      goodputPercent: round((goodput / pace) * 100),
      accepted: accepted.length,
      ran: this.#ran(accepted),
      turnedAway,
      toldWhen,
      answer: distribution(answers) ?? null,
    };
  }

  async #stall(pace: number): Promise<ControlResult['afterStall']> {
    const offered = round(pace * this.parameters.overload);
    const { beforeMs, frozenMs, catchUpMs, measuredMs } = STALL;
    const forMs = beforeMs + frozenMs + catchUpMs + measuredMs;
    this.progress(`${offered} creates per second for ${forMs / 1_000} s, and all controllers stand still for a while`);
    const arriving = arrivals(offered, forMs, () => this.#create());
    await pause(beforeMs);
    await this.plane.frozenFor(this.#controllers, frozenMs);
    await pause(catchUpMs);
    const from = this.#tally.running;
    const startedMs = performance.now();
    const { calls } = await arriving;
    const goodput = ((this.#tally.running - from) / (performance.now() - startedMs)) * 1_000;
    const outcomes = await Promise.allSettled(calls);
    const accepted = acceptedOf(outcomes);
    await this.#settle(accepted);
    return {
      frozenMs,
      measuredAfterMs: catchUpMs,
      goodputPerSecond: round(goodput),
      goodputPercent: round((goodput / pace) * 100),
      accepted: accepted.length,
      lost: accepted.length - this.#ran(accepted),
      turnedAway: refusalsAmong(outcomes).turnedAway,
    };
  }

  /** Until all of these run, and whatever else was accepted (the caller of some may have been gone by then). */
  async #settle(accepted: readonly string[]): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, SETTLE_MS)));
    await Promise.race([Promise.all(accepted.map((id) => this.#tally.untilRuns(id))), late]);
    clearTimeout(timer);
    await this.#tally.untilRunning(this.#tally.starts.size, SETTLE_MS);
  }

  #ran(ids: readonly string[]): number {
    return ids.filter((id) => this.#tally.starts.get(id)?.runningAt !== undefined).length;
  }

  #latencies(
    which: (id: string) => boolean,
  ): Pick<ControlResult['moderate'], 'acceptedToDecided' | 'acceptedToRunning'> {
    const starts = [...this.#tally.starts].filter(([id]) => which(id)).map(([, steps]) => steps);
    const from = (step: keyof StartSteps): number[] =>
      starts.flatMap((steps) => (steps[step] === undefined ? [] : [steps[step] - steps.acceptedAt]));
    return {
      acceptedToDecided: distribution(from('decidedAt')) ?? null,
      acceptedToRunning: distribution(from('runningAt')) ?? null,
    };
  }

  async #vitals(): Promise<Map<string, Vitals>> {
    const all = new Map<string, Vitals>();
    for (const controllerId of this.#controllers) {
      all.set(controllerId, await this.bus.call(controllerVitals, { collect: true }, { values: { controllerId } }));
    }
    return all;
  }
}

function acceptedOf(outcomes: readonly PromiseSettledResult<string>[]): string[] {
  return outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

/** By error code, and how many of them were told when to come back. */
function refusalsAmong(outcomes: readonly PromiseSettledResult<string>[]): {
  turnedAway: Record<string, number>;
  toldWhen: number;
} {
  const turnedAway: Record<string, number> = {};
  let toldWhen = 0;
  for (const one of outcomes) {
    if (one.status === 'fulfilled') continue;
    const error = one.reason as OperationError;
    turnedAway[error.code] = (turnedAway[error.code] ?? 0) + 1;
    if (error.retryAfterMs !== undefined) toldWhen++;
  }
  return { turnedAway, toldWhen };
}

type Vitals = ReplyOf<typeof controllerVitals>;

interface Arrivals<T> {
  calls: Promise<T>[];
  /** How long each answer took, ms. */
  answers: number[];
}

/** Calls that come at even intervals whatever becomes of those before, as a crowd of callers sends them; resolves when the last is sent. */
async function arrivals<T>(perSecond: number, ms: number, call: () => Promise<T>): Promise<Arrivals<T>> {
  const calls: Promise<T>[] = [];
  const answers: number[] = [];
  const beganMs = performance.now();
  for (let elapsed = 0; elapsed < ms; await pause(5)) {
    elapsed = Math.min(ms, performance.now() - beganMs);
    while (calls.length < (elapsed / 1_000) * perSecond) {
      const sentMs = performance.now();
      const one = call();
      one.finally(() => answers.push(performance.now() - sentMs)).catch(() => undefined);
      calls.push(one);
    }
  }
  return { calls, answers };
}

const newId = (): string => sortableId(Date.now(), randomBytes(10));
const never = (): AbortSignal => new AbortController().signal;
