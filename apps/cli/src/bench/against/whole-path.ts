import { randomBytes } from 'node:crypto';
import { DEFAULT_OVERCOMMIT } from '../../supervisor/volley-processes';
import { CliError } from '../../errors';
import { OwnFleet } from '../density/own-fleet';
import type { Distribution } from '../percentiles';
import { benchStart, type StartResult } from '../start.bench';
import type { Figure, Figures } from '../vmm/measured';
import type { StartCounts } from './start-contenders';

/** The name under which it stands beside the VMMs. */
export const WHOLE_PATH = 'volley-fleet';

/** The same numbers of starts through REST, control plane and host agent, on a fleet of its own: from the request to the answer. */
export async function wholePathRounds(
  parameters: StartCounts & { rounds: number; memoryMiB: number; cmdline: string },
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<Figures[]> {
  const { rounds, count, concurrency } = parameters;
  progress('bringing up a fleet of its own');
  const fleet = await OwnFleet.up({ overcommit: { ...DEFAULT_OVERCOMMIT, memory: 1_000 } });
  try {
    const startAll = async (atOnce: number): Promise<StartResult> => {
      const { memoryMiB, cmdline, deadlineS } = parameters;
      const result = await benchStart(
        fleet.client,
        {
          ...{ count, concurrency: atOnce, image: 'canary', memoryMiB, cmdline, devices: 'image' },
          startTimeoutMs: deadlineS * 1_000,
        },
        randomBytes(6).toString('hex'),
        signal,
        () => {},
      );
      if (result.running < count || result.left > 0) {
        throw new CliError(
          `${result.running} of ${count} ran, ${result.left} are left: ${Object.keys(result.failures)}`,
        );
      }
      return result;
    };
    const figures: Figures[] = [];
    for (let round = 1; round <= rounds; round++) {
      progress(`${WHOLE_PATH}, round ${round} of ${rounds}`);
      const alone = await startAll(1);
      const together = await startAll(concurrency);
      figures.push({
        start: latency(alone.phases['client']),
        'start, from admission': latency(alone.phases['admissionToGuest']),
        rate: { operationsPerSecond: together.startsPerSecond },
      });
    }
    return figures;
  } finally {
    await fleet.down();
  }
}

function latency(distribution: Distribution | null | undefined): Figure {
  if (!distribution) return {};
  const { p50, p99, max, mean } = distribution;
  return { p50: p50 * 1_000, p99: p99 * 1_000, max: max * 1_000, mean: mean * 1_000 };
}
