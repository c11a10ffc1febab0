import { sleep } from '../fleet/wait';
import { stillRuns } from '../invariants/scan-vmms';
import type { SeededRandom } from '../seeded-random';
import { duration, type FaultKind } from './fault';

/** SIGKILL; whoever keeps the process alive starts it again. */
export const kill =
  (process: string): FaultKind =>
  () => ({
    name: `kill ${process}`,
    strike: async (fleet) => (fleet.signal(process, 'SIGKILL') ? undefined : 'it was down'),
  });

/** SIGSTOP, and SIGCONT later: its clocks and connections went on without it. */
export const freeze =
  (process: string, longChance?: number): FaultKind =>
  (random) => {
    const ms = duration(random, longChance);
    return {
      name: `freeze ${process} for ${ms} ms`,
      strike: async (fleet) => {
        const pid = fleet.processes().get(process);
        if (pid === undefined || !fleet.signal(process, 'SIGSTOP')) return 'it was down';
        await sleep(ms);
        // Another one may have taken its place, if something else has killed it meanwhile.
        return fleet.processes().get(process) === pid && fleet.signal(process, 'SIGCONT')
          ? undefined
          : 'it was killed while frozen';
      },
    };
  };

/** Some of the VMMs that run, of all hosts. */
export const killVmms: FaultKind = (random) => {
  const share = random.pick([0.1, 0.3, 1]);
  const choice = new Choice(random);
  return {
    name: `kill ${share * 100} % of all VMMs`,
    strike: async (fleet) => {
      for (const vmm of choice.of(fleet.vmms(), share)) if (stillRuns(vmm)) signalVmm(vmm.pid, 'SIGKILL');
    },
  };
};

export const freezeVmms: FaultKind = (random) => {
  const ms = duration(random, 0.1);
  const choice = new Choice(random);
  return {
    name: `freeze 50 % of all VMMs for ${ms} ms`,
    strike: async (fleet) => {
      const chosen = choice.of(fleet.vmms(), 0.5);
      for (const vmm of chosen) if (stillRuns(vmm)) signalVmm(vmm.pid, 'SIGSTOP');
      await sleep(ms);
      for (const vmm of chosen) if (stillRuns(vmm)) signalVmm(vmm.pid, 'SIGCONT');
    },
  };
};

/** Chooses by numbers that were drawn in advance, so that how many there are to choose from does not change what is drawn later. */
class Choice {
  readonly #draws: number[];

  constructor(random: SeededRandom) {
    this.#draws = Array.from({ length: 64 }, () => random.next());
  }

  of<T>(all: readonly T[], share: number): T[] {
    return all.filter((_, i) => this.#draws[i % this.#draws.length]! < share);
  }
}

function signalVmm(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it ended by itself meanwhile
  }
}
