import type { Host } from '#protocol';
import { useState } from 'preact/hooks';
import { hostRows, level, type HostRow } from '../model/fleet-summary';
import type { FleetStore } from '../model/fleet.store';
import { NOTHING, count, mebibytes, percent, plural, ratio } from '../model/format';
import { hostVerbs } from '../model/host-actions';
import { formatRoute } from '../model/route';
import { useConsole } from './console-context';
import { Meter } from './meter';
import { HostState } from './state-badge';
import { Graded } from './summary-strip';

interface Props {
  store: FleetStore;
  /** The host whose microVMs are shown, if only those. */
  filteredTo: string | null;
  onFilter(host: string | null): void;
}

const LABELS = { cordon: 'Cordon', uncordon: 'Uncordon', retire: 'Retire', cancelDrain: 'Cancel drain' } as const;

export function HostTable({ store, filteredTo, onFilter }: Props) {
  const rows = hostRows(store.hosts, store.density);
  const [open, setOpen] = useState(true);
  return (
    <details class="panel hosts" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary class="panel-head">
        <h2>Hosts</h2>
        <span class="muted">{count(rows.length)}</span>
      </summary>
      {rows.length === 0 ? (
        <p class="empty">
          {store.complete ? 'No host has registered. hostd registers by itself when it starts.' : 'Reading…'}
        </p>
      ) : (
        <div class="scroll" tabIndex={-1}>
          <table class="dense">
            <thead>
              <tr>
                <th scope="col">Host</th>
                <th scope="col">State</th>
                <th scope="col" title="Which /dev/kvm it has">
                  KVM
                </th>
                <th scope="col" class="wide">
                  Slots
                </th>
                <th scope="col" class="wide" title="Solid: used. Hatched: promised. The bar ends where admission does.">
                  Memory used / promised
                </th>
                <th
                  scope="col"
                  class="number"
                  title="Memory commitment ÷ (capacity − reserve), and the limit of admission"
                >
                  Memory ratio
                </th>
                <th scope="col" class="number" title="vCPU commitment ÷ cores, and the limit of admission">
                  vCPU ratio
                </th>
                <th scope="col" class="number" title="Share of time vCPUs wanted to run but waited">
                  vCPU wait p99
                </th>
                <th
                  scope="col"
                  class="number"
                  title="Pressure stall information, 10 s average: CPU some / memory some / I/O some"
                >
                  PSI cpu/mem/io
                </th>
                <th scope="col" class="number" title="How many more microVMs of the mean size would be admitted">
                  Room for
                </th>
                <th scope="col">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <Row key={row.id} row={row} filtered={filteredTo === row.id} onFilter={onFilter} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

function Row({ row, filtered, onFilter }: { row: HostRow; filtered: boolean; onFilter(host: string | null): void }) {
  const { hostCommand, busy } = useConsole();
  const { host, density, stale, id } = row;
  const kvm = host?.description.kvm;
  return (
    <tr data-host={id} class={filtered ? 'current' : ''}>
      <th scope="row">
        <button
          type="button"
          class="link"
          aria-pressed={filtered}
          title={`${host ? `${host.description.hostname}, Linux ${host.description.kernel}, ${plural(host.description.cpus, 'CPU')}, ${mebibytes(host.description.memoryMiB)}` : 'not registered'}. Shows only its microVMs.`}
          onClick={() => onFilter(filtered ? null : id)}
        >
          {id}
        </button>
      </th>
      <td>
        {host ? <HostState state={host.state} /> : <span class="muted">not registered</span>}
        {host?.drain && <DrainProgress drain={host.drain} />}
      </td>
      <td>
        {!kvm ? (
          NOTHING
        ) : kvm.available && kvm.kind !== 'stand-in' ? (
          (kvm.kind ?? 'yes')
        ) : (
          <strong class="tone-bad" title={kvm.reason}>
            {kvm.available ? kvm.kind : 'none'}
          </strong>
        )}
      </td>
      {density ? (
        <Density density={density} stale={stale} />
      ) : (
        <td colSpan={7} class="muted">
          no density report yet
        </td>
      )}
      <td class="actions">
        <a href={formatRoute({ page: 'host', id })} aria-label={`Density of ${id}`}>
          Density
        </a>
        {host &&
          hostVerbs(host.state).map((verb) => (
            <button
              key={verb}
              type="button"
              class={verb === 'retire' ? 'small danger' : 'small'}
              disabled={busy.has(id)}
              onClick={() => void hostCommand(host, verb)}
            >
              {LABELS[verb]}
            </button>
          ))}
      </td>
    </tr>
  );
}

/** How much of what was there is gone. */
function DrainProgress({ drain: { progress } }: { drain: NonNullable<Host['drain']> }) {
  const { total, moved, moving, waiting, stopped, failed } = progress;
  if (total === 0) return null;
  const title = `${moved} moved, ${stopped} stopped, ${failed} failed; ${moving} on their way, ${waiting} waiting`;
  return (
    <span class="muted" title={title}>
      {' '}
      {count(total - moving - waiting)} / {count(total)}
    </span>
  );
}

function Density({ density, stale }: { density: NonNullable<HostRow['density']>; stale: boolean }) {
  const { slots, commitment, used, overcommit, headroom, pressure, vcpuWaitPercent, capacity } = density;
  const memoryLimit = Math.max(1, (capacity.memoryMiB - capacity.reserveMiB) * overcommit.memoryLimit);
  const old = stale ? 'stale' : '';
  const title = stale ? 'This report is old: its host has not sent a newer one.' : undefined;
  return (
    <>
      <td class={old} title={title}>
        <span class="bar-cell">
          <Meter
            label={`${slots.used} of ${slots.total} slots used`}
            used={slots.used / Math.max(1, slots.total)}
            level={level(slots.used / Math.max(1, slots.total), 0.9, 0.99)}
          />
          <span>
            {count(slots.used)} / {count(slots.total)}
          </span>
        </span>
      </td>
      <td class={old} title={title}>
        <span class="bar-cell">
          <Meter
            label={`${mebibytes(used.memoryMiB)} used, ${mebibytes(commitment.memoryMiB)} promised; admission ends at ${mebibytes(memoryLimit)}`}
            used={used.memoryMiB / memoryLimit}
            committed={commitment.memoryMiB / memoryLimit}
            level={level(commitment.memoryMiB / memoryLimit, 0.85, 0.97)}
          />
          <span>
            {mebibytes(used.memoryMiB)} / {mebibytes(commitment.memoryMiB)}
          </span>
        </span>
      </td>
      <td class={`number ${old}`}>
        <Graded level={level(overcommit.memory / (overcommit.memoryLimit || 1), 0.85, 0.97)}>
          {ratio(overcommit.memory)}
        </Graded>
        <span class="muted"> / {ratio(overcommit.memoryLimit)}</span>
      </td>
      <td class={`number ${old}`}>
        <Graded level={level(overcommit.cpu / (overcommit.cpuLimit || 1), 0.85, 0.97)}>{ratio(overcommit.cpu)}</Graded>
        <span class="muted"> / {ratio(overcommit.cpuLimit)}</span>
      </td>
      <td class={`number ${old}`}>
        <Graded level={level(vcpuWaitPercent.p99, 5, 20)}>{percent(vcpuWaitPercent.p99)}</Graded>
      </td>
      <td class={`number ${old}`}>
        <Graded level={level(pressure.cpuSome, 25, 60)}>{percent(pressure.cpuSome)}</Graded>
        {' / '}
        <Graded level={level(pressure.memorySome, 2, 10)}>{percent(pressure.memorySome)}</Graded>
        {' / '}
        <Graded level={level(pressure.ioSome, 10, 30)}>{percent(pressure.ioSome)}</Graded>
      </td>
      <td class={`number ${old}`}>{count(Math.max(0, headroom.microvms))}</td>
    </>
  );
}
