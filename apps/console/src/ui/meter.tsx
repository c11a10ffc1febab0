import type { Level } from '../model/fleet-summary';

interface Props {
  /** For those who do not see the bar. */
  label: string;
  /** Share of the bar, 0..1: what is really taken. */
  used: number;
  /** Share of the bar, 0..1: what is promised. */
  committed?: number;
  level?: Level;
}

const share = (value: number): string => `${(Math.min(1, Math.max(0, value || 0)) * 100).toFixed(2)}%`;

/** A bar: solid for used, hatched for promised. */
export function Meter({ label, used, committed, level = 'calm' }: Props) {
  return (
    <span class={`meter level-${level}`} role="img" aria-label={label} title={label}>
      {committed !== undefined && <span class="meter-committed" style={{ width: share(committed) }} />}
      <span class="meter-used" style={{ width: share(used) }} />
    </span>
  );
}
