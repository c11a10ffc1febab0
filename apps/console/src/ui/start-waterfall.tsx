import type { Microvm } from '#protocol';
import { NOTHING, duration, instant } from '../model/format';
import { startLatency, startPhases } from '../model/start-phases';

/** The phases of the latest start on one axis of time. */
export function StartWaterfall({ timings }: { timings: Microvm['timings'] }) {
  const phases = startPhases(timings);
  const total = startLatency(timings);
  const axis = Math.max(0.001, ...phases.map(({ fromMs, tookMs }) => fromMs + (tookMs ?? 0)));
  const longest = Math.max(...phases.map(({ tookMs }) => tookMs ?? 0));
  const skewed = phases.some(({ tookMs }) => tookMs !== null && tookMs < 0);
  return (
    <>
      <table class="waterfall">
        <thead class="hidden">
          <tr>
            <th scope="col">Phase</th>
            <th scope="col">When</th>
            <th scope="col">Took</th>
          </tr>
        </thead>
        <tbody>
          {phases.map(({ until, label, explains, fromMs, tookMs }) => (
            <tr key={until} class={tookMs === null ? 'open' : ''} title={explains}>
              <th scope="row">{label}</th>
              <td class="track">
                {tookMs !== null && (
                  <span
                    class={tookMs === longest ? 'bar longest' : 'bar'}
                    style={{
                      marginLeft: `${(Math.max(0, fromMs) / axis) * 100}%`,
                      width: `${(Math.max(0, tookMs) / axis) * 100}%`,
                    }}
                  />
                )}
              </td>
              <td class="number">{tookMs === null ? NOTHING : duration(tookMs)}</td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">whole start</th>
            <td class="muted">from {instant(timings.requestedAt)}</td>
            <td class="number">
              <strong>{duration(total)}</strong>
            </td>
          </tr>
        </tfoot>
      </table>
      {skewed && (
        <p class="muted">
          A phase is negative: the clocks of the host and of the controller disagree by more than it took.
        </p>
      )}
    </>
  );
}
