import type { Fault } from '../faults/fault';
import { FAULTS } from '../faults/catalogue';
import { SeededRandom } from '../seeded-random';

/** What one run asks for. */
export interface PlannedMicrovm {
  /** The idempotency key of its create. */
  key: string;
  spec: Record<string, unknown>;
  /** Never started a second time, so that what it finds on its console is of others. */
  once: boolean;
}

export interface PlannedFault {
  /** From the beginning of the churn, ms. */
  atMs: number;
  fault: Fault;
}

/** Everything that a run chooses, from its seed alone: only the timing of the machine is another one in a repetition. */
export interface RunPlan {
  seed: number;
  microvms: PlannedMicrovm[];
  faults: PlannedFault[];
  /** Of the commands that churn. */
  churn: SeededRandom;
  /** Mean pause of a client between two of them, ms. */
  churnEveryMs: number;
}

export interface PlanOptions {
  microvms: number;
  /** Names of the catalogue to draw faults from; default: all. */
  kinds?: readonly string[];
  /** Names that differ from fleet to fleet, since idempotency keys outlive a run. */
  fleet: string;
}

/** What a fleet with one nats-server can suffer. */
const ON_ONE_SERVER = Object.keys(FAULTS).filter((name) => name !== 'leader-loss');
/** Faults strike within this time, ms. */
const STRIKE_WITHIN_MS = 2_500;
/** From a storm to hardly any: where operators leave microVMs alone, faults find them running. */
const CHURN_EVERY_MS = [70, 400, 2_000];

export function planRun(seed: number, { microvms, kinds = ON_ONE_SERVER, fleet }: PlanOptions): RunPlan {
  const random = new SeededRandom(seed);
  const faults = Array.from({ length: random.int(1, 4) }, () => ({
    atMs: random.int(0, STRIKE_WITHIN_MS),
    fault: random.pick(FAULTS[random.pick(kinds)]!)(random),
  }));
  return {
    seed,
    faults: faults.sort((a, b) => a.atMs - b.atMs),
    microvms: Array.from({ length: microvms }, (_, n) => planMicrovm(random, `${fleet}-${seed}-${n}`)),
    churn: new SeededRandom(random.int(0, 2 ** 31)),
    churnEveryMs: random.pick(CHURN_EVERY_MS),
  };
}

const IDLERS = ['idle', 'idle', 'burn=3', 'print=3'];
/** Ends by itself: it must not be started again for ever, or it would never rest. */
const ENDERS = ['exit=panic after=1500', 'exit=poweroff after=1000', 'exit=triplefault after=700'];
const DISK_KIB = 1_024;

function planMicrovm(random: SeededRandom, key: string): PlannedMicrovm {
  const common = {
    image: 'canary',
    memoryMiB: 8,
    onHostLoss: random.pick(['keep', 'reschedule']),
    labels: { chaos: key },
  };
  const kind = random.next();
  // One that looks whether its disk holds anything of others, and leaves something for them to find.
  if (kind < 0.2) {
    const onHostLoss = 'keep'; // elsewhere, or here again, it would find its own
    const cmdline = `zeros=0,0,${DISK_KIB} write=0,0,${DISK_KIB},${random.int(1, 1_000_000)}`;
    return { key, once: true, spec: { ...common, onHostLoss, cmdline, disks: [{ sizeMiB: 1 }] } };
  }
  if (kind < 0.4) return { key, once: false, spec: { ...common, cmdline: random.pick(ENDERS) } };
  const restartPolicy = random.pick(['never', 'on-failure', 'always']);
  return { key, once: false, spec: { ...common, cmdline: random.pick(IDLERS), restartPolicy } };
}
