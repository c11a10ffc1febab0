import type { DensityHistory, KeptFigure } from '#protocol';
import { chartLines } from '../model/density-chart';
import { NOTHING, clock } from '../model/format';

interface Props {
  title: string;
  history: DensityHistory;
  figures: readonly { figure: KeptFigure; label: string }[];
  told: (value: number) => string;
}

/** Means over time of figures of one unit. */
export function DensityChart({ title, history, figures, told }: Props) {
  const { most, lines } = chartLines(
    history,
    figures.map(({ figure }) => figure),
  );
  return (
    <figure class="chart" data-chart={title} data-points={history.points.length}>
      <figcaption>
        <strong>{title}</strong>{' '}
        {lines.map(({ figure, last }, index) => (
          <span key={figure} class="muted">
            <span class={`swatch line-${index}`} /> {figures[index]!.label} {last === null ? NOTHING : told(last)}{' '}
          </span>
        ))}
      </figcaption>
      <svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label={`${title}, at most ${told(most)}`}>
        {lines.map(({ figure, path }, index) => (
          <path key={figure} class={`line-${index}`} d={path} vector-effect="non-scaling-stroke" />
        ))}
      </svg>
      <span class="muted">
        {clock(history.from).slice(0, 8)} to {clock(history.to).slice(0, 8)}, 0 to {told(most)}
      </span>
    </figure>
  );
}
