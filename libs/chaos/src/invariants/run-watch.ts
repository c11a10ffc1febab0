import { scanVmms, stillRuns, type FoundVmm } from './scan-vmms';
import type { Violation } from './violation';

const PERIOD_MS = 100;

/**
 * Looks at the machine ten times a second while faults happen, since what must never be may be over when they end: S1, a microVM that
 * runs twice; S6, two microVMs in one slot; S7, a deleted microVM that runs.
 */
export class RunWatch {
  readonly violations: Violation[] = [];
  /** How often it has looked. */
  looks = 0;
  readonly #told = new Set<string>();
  readonly #deleted = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly runDirectories: readonly string[],
    private readonly scan: (...runDirectories: string[]) => FoundVmm[] = scanVmms,
    private readonly runs: (vmm: FoundVmm) => boolean = stillRuns,
  ) {}

  start(): void {
    this.#timer = setInterval(() => this.look(), PERIOD_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** These must not run from now on. */
  deleted(ids: Iterable<string>): void {
    for (const id of ids) this.#deleted.add(id);
  }

  look(): FoundVmm[] {
    this.looks++;
    const found = this.scan(...this.runDirectories);
    this.#together(
      'S1',
      found,
      ({ microvmId }) => microvmId,
      (one, other) =>
        `epoch ${one.epoch} (process ${one.pid}) and epoch ${other.epoch} (process ${other.pid}) run at the same time`,
    );
    this.#together(
      'S6',
      found,
      ({ runDirectory, uid }) => `${runDirectory} ${uid}`,
      (one, other) => `${other.microvmId} runs in the same slot (uid ${one.uid})`,
    );
    for (const vmm of found) {
      if (this.#deleted.has(vmm.microvmId))
        this.#report(
          'S7',
          vmm.microvmId,
          `process ${vmm.pid} of epoch ${vmm.epoch} runs after the microVM was deleted`,
        );
    }
    return found;
  }

  /** A scan takes time: two count as together only if the first is still there when the second was seen. */
  #together(
    rule: string,
    found: readonly FoundVmm[],
    keyOf: (vmm: FoundVmm) => string,
    detail: (one: FoundVmm, other: FoundVmm) => string,
  ): void {
    const seen = new Map<string, FoundVmm>();
    for (const vmm of found) {
      const first = seen.get(keyOf(vmm));
      if (!first) seen.set(keyOf(vmm), vmm);
      else if (this.runs(first) && this.runs(vmm)) this.#report(rule, first.microvmId, detail(first, vmm));
    }
  }

  #report(rule: string, subject: string, detail: string): void {
    if (this.#told.has(`${rule} ${detail}`)) return;
    this.#told.add(`${rule} ${detail}`);
    this.violations.push({ rule, subject, detail });
  }
}
