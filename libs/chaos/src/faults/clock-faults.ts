import { sleep } from '../fleet/wait';
import type { FaultKind } from './fault';

/** Moves the wall clock of one process by minutes, and back: a jump each way. */
export const clockJump =
  (process: string): FaultKind =>
  (random) => {
    const minutes = random.pick([-10, -3, -1, 1, 3, 10]);
    const ms = random.int(500, 3_000);
    return {
      name: `move the clock of ${process} by ${minutes} minutes for ${ms} ms`,
      strike: async ({ clocks }) => {
        if (!clocks) return 'there is no C compiler';
        clocks.set(process, minutes * 60_000);
        await sleep(ms);
        clocks.set(process, 0);
      },
    };
  };
