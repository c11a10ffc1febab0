import type { MemoryBreakdown } from '#protocol';
import { mebibytes, percent } from '../model/format';
import { memoryParts } from '../model/host-memory';

/** All of a host's memory in one bar, and each of its parts in words. */
export function MemoryStack({ memory }: { memory: MemoryBreakdown }) {
  const parts = memoryParts(memory);
  const sum = parts.reduce((total, { kib }) => total + kib, 0);
  return (
    <div class="memory-stack">
      <div class="stack" aria-hidden="true">
        {parts.map(({ key, label, kib, share }) => (
          <span
            key={key}
            class={`part-${key}`}
            style={{ width: `${share * 100}%` }}
            title={`${label}: ${mebibytes(kib / 1024)}`}
          />
        ))}
      </div>
      <table class="dense">
        <tbody>
          {parts.map(({ key, label, explains, kib, share }) => (
            <tr key={key} data-part={key} data-kib={kib} title={explains}>
              <th scope="row">
                <span class={`swatch part-${key}`} /> {label}
              </th>
              <td class="number">{mebibytes(kib / 1024)}</td>
              <td class="number muted">{percent(share * 100)}</td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr data-part="total" data-kib={sum}>
            <th scope="row">Sum, which is MemTotal</th>
            <td class="number">{mebibytes(sum / 1024)}</td>
            <td class="number muted">{mebibytes(memory.totalKiB / 1024)}</td>
          </tr>
        </tfoot>
      </table>
    </div>
  );
}
