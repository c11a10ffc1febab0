import { setTimeout as pause } from 'node:timers/promises';
import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import { seededDemand } from '#chaos';
import { openFleetView, type FleetView } from '#fleet';
import { whatIf, type Spread, type WhatIfOutcome, type WhatIfReport } from '#protocol';
import { BenchPlane } from '../control/bench-plane';
import { HostSwarm } from '../control/host-swarm';
import { round } from '../percentiles';
import { applyDemand, type Applied } from './applied-demand';

export interface WhatIfBenchParameters {
  seeds: number[];
  /** Memory ratios of the runs; every one is predicted from the record of every other. */
  ratios: number[];
  /** How long creates wait for a host, s; 0: they fail at once. */
  waitSeconds: number[];
  hosts: number;
  hostMemoryMiB: number;
  creates: number;
  perSecond: number;
  meanLifeMs: number;
  /** Replays of each prediction. */
  runs: number;
}

/** One prediction and what was measured. */
export interface Prediction {
  seed: number;
  waitSeconds: number;
  /** The ratio of the run whose record it is made from, and the one it is about. The same: the record replayed. */
  from: number;
  to: number;
  measured: number;
  predicted: Spread;
  /** Of the median, percent of what was measured. */
  errorPercent: number;
}

export interface WhatIfBenchResult {
  measured: (Applied & { seed: number; waitSeconds: number; ratio: number })[];
  predictions: Prediction[];
  /** The largest error without its sign, percent, of replays of a run's own record and of predictions. */
  worst: { replayed: number; predicted: number };
}

const CPUS = 64;
const SLOTS = 1_000;
/** Hosts that have registered anew have reported by then, and placement knows. */
const SETTLE_MS = 3_000;

/**
 * How far predictions are from what a fleet then does: the same demand on hosts that promise their memory so and so far, one ratio after the
 * other, and every run predicted from the record of each other one. Real nats-server, controllers and placement; the hosts run nothing,
 * so that thousands of creates take a minute.
 */
export async function benchWhatIf(
  parameters: WhatIfBenchParameters,
  progress: (text: string) => void,
): Promise<WhatIfBenchResult> {
  const result: WhatIfBenchResult = { measured: [], predictions: [], worst: { replayed: 0, predicted: 0 } };
  for (const seed of parameters.seeds) {
    for (const waitSeconds of parameters.waitSeconds) {
      const plane = new BenchPlane();
      try {
        await plane.start({ controllers: 1, hosts: 0, vcpusPerCpu: 1 });
        await onPlane(plane.url, progress, (bus, view) =>
          new Experiment(bus, view, parameters, { seed, waitSeconds }, progress).run(result),
        );
      } finally {
        await plane.stop();
      }
    }
  }
  return result;
}

/** Works with a client of the plane, and with what its histories say. */
async function onPlane(
  url: string,
  progress: (text: string) => void,
  work: (bus: BusClient, view: FleetView) => Promise<void>,
): Promise<void> {
  const nats = await connectNats({ servers: url, name: 'bench-what-if' });
  const view = await openFleetView(nats, {
    onFailure: (error) => {
      throw error;
    },
    onSkipped: (subject) => progress(`no record: ${subject}`),
  });
  try {
    await work(new BusClient(nats, pino({ level: 'silent' })), view);
  } finally {
    view.close();
    await nats.close();
  }
}

class Experiment {
  constructor(
    private readonly bus: BusClient,
    private readonly view: FleetView,
    private readonly parameters: WhatIfBenchParameters,
    private readonly which: { seed: number; waitSeconds: number },
    private readonly progress: (text: string) => void,
  ) {}

  async run(result: WhatIfBenchResult): Promise<void> {
    const { ratios } = this.parameters;
    const measured: (Applied & { ratio: number; told: WhatIfReport; others: number[] })[] = [];
    for (const ratio of ratios) {
      const applied = await this.#measure(ratio);
      const others = ratios.filter((other) => other !== ratio);
      // Before the others are measured, those of them at least that come later.
      measured.push({ ratio, ...applied, others, told: await this.#ask(applied, others) });
    }
    for (const { ratio, told, others } of measured) {
      for (const then of measured) {
        const outcome = then.ratio === ratio ? told.base : told.alternatives[others.indexOf(then.ratio)]!;
        this.#compare(result, ratio, then, outcome);
      }
    }
    result.measured.push(...measured.map(({ told: _, others: __, ...one }) => ({ ...this.which, ...one })));
  }

  #ask({ from, to }: Applied, ratios: readonly number[]): Promise<WhatIfReport> {
    const alternatives = ratios.map((memoryRatio) => ({ memoryRatio }));
    return this.bus.call(whatIf, { from, to, runs: this.parameters.runs, alternatives });
  }

  async #measure(memory: number): Promise<Applied> {
    const { hosts, hostMemoryMiB: memoryMiB, creates, perSecond, meanLifeMs } = this.parameters;
    const { seed, waitSeconds } = this.which;
    const ids = Array.from({ length: hosts }, (_, i) => `host-${i + 1}`);
    const overcommit = { cpu: 1_000, memory };
    const capacity = { cpus: CPUS, memoryMiB, reserveMiB: 0, slots: SLOTS, overcommit };
    const swarm = new HostSwarm(this.bus, ids, capacity);
    await swarm.start();
    await pause(SETTLE_MS);
    try {
      const demand = seededDemand({ seed, creates, perSecond, meanLifeMs, leastTtlSeconds: waitSeconds + 1 });
      const applied = await applyDemand(this.bus, this.view, demand, waitSeconds);
      const { refused, expired, turnedAway } = applied;
      this.progress(
        `seed ${seed}, wait ${waitSeconds} s, x${memory}: refused ${refused} of ${creates}, expired ${expired}` +
          (Object.keys(turnedAway).length > 0 ? `, turned away ${JSON.stringify(turnedAway)}` : ''),
      );
      return applied;
    } finally {
      swarm.stop();
    }
  }

  #compare(result: WhatIfBenchResult, from: number, then: Applied & { ratio: number }, told: WhatIfOutcome): void {
    const { refused: measured, ratio: to } = then;
    const { refused: predicted } = told;
    const errorPercent = round((100 * (predicted.median - measured)) / Math.max(1, measured));
    result.predictions.push({ ...this.which, from, to, measured, predicted, errorPercent });
    const kind = from === to ? 'replayed' : 'predicted';
    result.worst[kind] = Math.max(result.worst[kind], Math.abs(errorPercent));
    const { min, median, max } = predicted;
    this.progress(
      `  from x${from} to x${to}: measured ${measured}, ${kind} ${median} (${min}..${max}), ${errorPercent} %`,
    );
  }
}
