import { description, FROM } from '../whatif.fixtures';
import type { HostPhase } from './host-plan';
import { phasesWith, type RecordedLimits } from './limits-in-force';

describe('ratios that hosts derived', () => {
  const phase = (ms: number, state: string, memory = 1): HostPhase => ({
    ...{ at: FROM + ms, state },
    description: description('a', { overcommit: { cpu: 1_000, memory } }),
  });
  const at = (ms: number, memory: number): RecordedLimits => ({ hostId: 'a', at: FROM + ms, cpu: 1_000, memory });
  const told = (phases: HostPhase[], limits: RecordedLimits[]) =>
    phasesWith(phases, limits).map(({ at: then, state, description: { overcommit } }) => [
      then - FROM,
      state,
      overcommit.memory,
    ]);

  it('are in force from when they were recorded, whatever state the host is in', () => {
    const limits = [at(1_000, 1), at(2_000, 2.5), at(3_000, 2.5), at(6_000, 3)];
    expect(told([phase(0, 'ready'), phase(5_000, 'cordoned')], limits)).toEqual([
      [0, 'ready', 1],
      [2_000, 'ready', 2.5],
      [5_000, 'cordoned', 2.5],
      [6_000, 'cordoned', 3],
    ]);
  });

  it('are in force no longer once the host registers with other ratios', () => {
    expect(told([phase(0, 'ready'), phase(5_000, 'ready', 4)], [at(-1_000, 7), at(2_000, 2), at(9_000, 5)])).toEqual([
      [0, 'ready', 1],
      [2_000, 'ready', 2],
      [5_000, 'ready', 4],
      [9_000, 'ready', 5],
    ]);
  });
});
