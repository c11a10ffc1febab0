import { readdirSync, readFileSync } from 'node:fs';
import { parseSchedstat, type ThreadSchedule } from '#density';
import { waitOfTime, type WaitSample } from '#scheduling';
import { distribution, round } from '../percentiles';

/** How long vCPUs waited for a CPU, in percent of the time in which they wanted one (docs/density.md), window by window. */
export interface WaitFigures {
  /** Measurements, one of each microVM each time. */
  samples: number;
  /** vCPU time that was wanted, seconds. */
  wantedSeconds: number;
  /** Of 50, 99 and all percent of that time. */
  p50: number;
  p99: number;
  max: number;
  /** Over the whole run, and of the microVM that waited most. */
  overall: number;
  worstMicrovm: number;
  /** Another measure, for comparison: waited time / wall time, as VMware's %RDY; 99 % and all of the windows of those that ran. */
  ready: { p99: number; max: number };
}

/** Measures how long the vCPUs of some VMMs wait, from outside, by the kernel's own scheduler statistics. */
export class VcpuWaits {
  readonly #last = new Map<number, ThreadSchedule>();
  readonly #whole = new Map<number, ThreadSchedule>();
  readonly #samples: WaitSample[] = [];
  readonly #readyPercents: number[] = [];
  #measuredAtMs = Number.NaN;

  /** One measurement. Those seen for the first time are measured from now on. */
  measure(pids: Iterable<number>): void {
    const nowMs = performance.now();
    const wallMs = nowMs - this.#measuredAtMs;
    this.#measuredAtMs = nowMs;
    for (const pid of pids) {
      const now = scheduleOf(pid);
      const before = this.#last.get(pid);
      if (now) this.#last.set(pid, now);
      if (!now || !before) continue;
      const runNs = now.runNs - before.runNs;
      const delayNs = now.delayNs - before.delayNs;
      const whole = this.#whole.get(pid) ?? { runNs: 0, delayNs: 0 };
      this.#whole.set(pid, { runNs: whole.runNs + runNs, delayNs: whole.delayNs + delayNs });
      if (runNs + delayNs === 0) continue;
      this.#samples.push(sampleOf({ runNs, delayNs }));
      this.#readyPercents.push((100 * delayNs) / (wallMs * 1e6));
    }
  }

  figures(): WaitFigures {
    const ready = distribution(this.#readyPercents);
    const whole = [...this.#whole.values()].map(sampleOf);
    const wanted = whole.reduce((sum, one) => sum + one.wanted, 0);
    const waited = whole.reduce((sum, one) => sum + (one.wanted * one.waitPercent) / 100, 0);
    const [p50, p99, max] = [50, 99, 100].map((percent) => round(waitOfTime(this.#samples, percent))) as [
      number,
      number,
      number,
    ];
    return {
      samples: this.#samples.length,
      wantedSeconds: round(wanted / 1e9),
      ...{ p50, p99, max },
      overall: round(wanted > 0 ? (100 * waited) / wanted : 0),
      worstMicrovm: round(Math.max(0, ...whole.map(({ waitPercent }) => waitPercent))),
      ready: { p99: ready?.p99 ?? 0, max: ready?.max ?? 0 },
    };
  }
}

function sampleOf({ runNs, delayNs }: ThreadSchedule): WaitSample {
  const wanted = runNs + delayNs;
  return { wanted, waitPercent: wanted > 0 ? (100 * delayNs) / wanted : 0 };
}

/** Sum over its vCPU threads; undefined when it is gone. */
function scheduleOf(pid: number): ThreadSchedule | undefined {
  const sum: ThreadSchedule = { runNs: 0, delayNs: 0 };
  try {
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      const folder = `/proc/${pid}/task/${tid}`;
      if (!readFileSync(`${folder}/comm`, 'latin1').startsWith('vcpu:')) continue;
      const one = parseSchedstat(readFileSync(`${folder}/schedstat`, 'latin1'));
      sum.runNs += one?.runNs ?? 0;
      sum.delayNs += one?.delayNs ?? 0;
    }
    return sum;
  } catch {
    return undefined;
  }
}
