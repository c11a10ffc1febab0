import type { Comparison } from '../vmm/compare';
import type { Figure } from '../vmm/measured';

/** How far ahead of a rival a VMM of ours is: 2 is half the time or memory, or twice the rate; below 1 it is behind. */
export interface Factor {
  of: string;
  measure: keyof Figure;
  ours: string;
  rival: string;
  factor: number;
}

const MORE_IS_BETTER: readonly (keyof Figure)[] = ['operationsPerSecond', 'bytesPerSecond'];

/** Of every measure that both have. */
export function factorsOf(
  comparisons: readonly Pick<Comparison, 'of' | 'medians'>[],
  ours: readonly string[],
  rivals: readonly string[],
): Factor[] {
  return comparisons.flatMap(({ of, medians }) =>
    rivals.flatMap((rival) =>
      ours.flatMap((name) =>
        (Object.keys(medians[rival] ?? {}) as (keyof Figure)[]).flatMap((measure) => {
          const [own, other] = [medians[name]?.[measure], medians[rival]?.[measure]];
          // Memory that a busy host has more of at the end than before is no measurement.
          if (!(own! > 0 && other! > 0)) return [];
          const factor = MORE_IS_BETTER.includes(measure) ? own! / other! : other! / own!;
          return [{ of, measure, ours: name, rival, factor: Number(factor.toPrecision(3)) }];
        }),
      ),
    ),
  );
}
