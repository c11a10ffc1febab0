import { parseSchedstat } from './proc-files';
import type { ProcReader } from './proc-reader';

/**
 * Measures the CPU time of the calling thread, so that the cost of measuring is itself measured. Where the kernel keeps no
 * scheduler statistics, elapsed time stands in for it: an upper bound.
 */
export class SamplingCost {
  #cpuNs: number | undefined;
  #wallNs = 0n;

  constructor(private readonly proc: ProcReader) {}

  begin(): void {
    this.#cpuNs = this.#threadNs();
    this.#wallNs = process.hrtime.bigint();
  }

  /** ms of CPU since `begin`. */
  end(): number {
    const cpuNs = this.#threadNs();
    if (cpuNs !== undefined && this.#cpuNs !== undefined) return (cpuNs - this.#cpuNs) / 1e6;
    return Number(process.hrtime.bigint() - this.#wallNs) / 1e6;
  }

  #threadNs(): number | undefined {
    const text = this.proc.read('/proc/thread-self/schedstat');
    return text === undefined ? undefined : parseSchedstat(text)?.runNs;
  }
}
