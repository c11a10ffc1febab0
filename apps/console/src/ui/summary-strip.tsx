import type { ComponentChildren } from 'preact';
import type { MicrovmStateName } from '#protocol';
import { countHostStates, fleetCapacity, level, worst, type Level, type Worst } from '../model/fleet-summary';
import type { FleetStore } from '../model/fleet.store';
import { NOTHING, count, mebibytes, percent, plural, ratio } from '../model/format';
import { HOST_STATE_NAMES, MICROVM_STATE_LOOKS, MICROVM_STATE_NAMES } from '../model/microvm-states';
import { Meter } from './meter';
import { HostState } from './state-badge';

interface Props {
  store: FleetStore;
  counts: ReadonlyMap<MicrovmStateName, number>;
  densityProblem: string | null;
}

/** The whole fleet in one line. */
export function SummaryStrip({ store, counts, densityProblem }: Props) {
  const { density } = store;
  const total = [...counts.values()].reduce((sum, one) => sum + one, 0);
  const hostCounts = countHostStates(store.hosts.values());
  return (
    <section class="summary" aria-label="Fleet summary">
      <Tile title="MicroVMs" value={store.complete ? count(total) : '…'} name="microvms">
        <StateBar counts={counts} total={total} />
        <span class="muted">
          {counts.get('running') ? `${count(counts.get('running')!)} running` : 'none running'}
          {counts.get('failed') ? <strong class="tone-bad"> · {count(counts.get('failed')!)} failed</strong> : null}
          {counts.get('unreachable') ? (
            <strong class="tone-doubt"> · {count(counts.get('unreachable')!)} unreachable</strong>
          ) : null}
        </span>
      </Tile>
      <Tile title="Hosts" value={store.complete ? count(store.hosts.size) : '…'} name="hosts">
        <span class="host-counts">
          {HOST_STATE_NAMES.filter((state) => hostCounts.get(state)).map((state) => (
            <span key={state}>
              {hostCounts.get(state)} <HostState state={state} />
            </span>
          ))}
        </span>
      </Tile>
      {density ? (
        <DensityTiles density={density} />
      ) : (
        <Tile title="Density" value={NOTHING} name="density">
          <span class="muted">{densityProblem ?? 'no host has reported yet'}</span>
        </Tile>
      )}
    </section>
  );
}

function DensityTiles({ density }: { density: NonNullable<FleetStore['density']> }) {
  const { fleet } = density;
  const capacity = fleetCapacity(density);
  const memory = Math.max(1, capacity.memoryMiB - capacity.reserveMiB);
  // The bar reaches as far as admission does, so a full bar is a full fleet.
  const memoryLimit = fleet.commitment.memoryMiB + fleet.headroom.memoryMiB || memory;
  const vcpuLimit = fleet.commitment.vcpus + fleet.headroom.vcpus || 1;
  const pressures: { name: string; worst: Worst | null; raised: number; high: number }[] = [
    { name: 'vCPU wait p99', worst: worst(density, (report) => report.vcpuWaitPercent.p99), raised: 5, high: 20 },
    { name: 'CPU', worst: worst(density, (report) => report.pressure.cpuSome), raised: 25, high: 60 },
    { name: 'memory', worst: worst(density, (report) => report.pressure.memorySome), raised: 2, high: 10 },
    { name: 'I/O', worst: worst(density, (report) => report.pressure.ioSome), raised: 10, high: 30 },
  ];
  return (
    <>
      <Tile
        title="Memory promised"
        value={ratio(fleet.overcommit.memory)}
        name="memory"
        hint="commitment ÷ (capacity − reserve)"
      >
        <Meter
          label={`${mebibytes(fleet.commitment.memoryMiB)} promised, ${mebibytes(fleet.used.memoryMiB)} used; admission ends at ${mebibytes(memoryLimit)}`}
          used={fleet.used.memoryMiB / memoryLimit}
          committed={fleet.commitment.memoryMiB / memoryLimit}
          level={level(fleet.commitment.memoryMiB / memoryLimit, 0.85, 0.97)}
        />
        <span class="muted">
          {mebibytes(fleet.commitment.memoryMiB)} promised · {mebibytes(fleet.used.memoryMiB)} used of{' '}
          {mebibytes(memory)}
        </span>
      </Tile>
      <Tile title="vCPUs promised" value={ratio(fleet.overcommit.cpu)} name="cpu" hint="commitment ÷ cores">
        <Meter
          label={`${count(fleet.commitment.vcpus)} vCPUs promised, ${fleet.used.cpuCores.toFixed(2)} cores used; admission ends at ${count(vcpuLimit)} vCPUs`}
          used={fleet.used.cpuCores / vcpuLimit}
          committed={fleet.commitment.vcpus / vcpuLimit}
          level={level(fleet.commitment.vcpus / vcpuLimit, 0.85, 0.97)}
        />
        <span class="muted">
          {plural(fleet.commitment.vcpus, 'vCPU')} promised · {fleet.used.cpuCores.toFixed(1)} used of{' '}
          {plural(capacity.cpus, 'core')}
        </span>
      </Tile>
      <Tile title="Headroom" value={plural(Math.max(0, fleet.headroom.slots), 'slot')} name="headroom">
        <Meter
          label={`${count(fleet.slots.used)} of ${count(fleet.slots.total)} slots used`}
          used={fleet.slots.used / Math.max(1, fleet.slots.total)}
        />
        <span class="muted">
          {mebibytes(Math.max(0, fleet.headroom.memoryMiB))} · {plural(Math.max(0, fleet.headroom.vcpus), 'vCPU')} can
          still be promised
        </span>
      </Tile>
      <section class="tile" data-tile="pressure">
        <h2>Pressure, worst host</h2>
        <dl class="pressure">
          {pressures.map(({ name, worst: found, raised, high }) => (
            <div key={name} title={found ? `on ${found.hostId}` : 'not measured'}>
              <dt>{name}</dt>
              <dd>
                <Graded level={level(found?.value, raised, high)}>{percent(found?.value)}</Graded>
              </dd>
            </div>
          ))}
        </dl>
      </section>
    </>
  );
}

/** A measure whose alarm is also a sign, not a colour alone. */
export function Graded({ level, children }: { level: Level; children: ComponentChildren }) {
  return (
    <span class={`graded level-${level}`}>
      {level !== 'calm' && (
        <span role="img" aria-label={level === 'high' ? 'high' : 'raised'}>
          {level === 'high' ? '▲▲ ' : '▲ '}
        </span>
      )}
      {children}
    </span>
  );
}

interface TileProps {
  title: string;
  value: string;
  name: string;
  hint?: string;
  children: ComponentChildren;
}

function Tile({ title, value, name, hint, children }: TileProps) {
  return (
    <section class="tile" data-tile={name}>
      <h2 title={hint}>{title}</h2>
      <strong class="tile-value">{value}</strong>
      {children}
    </section>
  );
}

function StateBar({ counts, total }: { counts: ReadonlyMap<MicrovmStateName, number>; total: number }) {
  const present = MICROVM_STATE_NAMES.filter((state) => counts.get(state));
  const label = present.map((state) => `${counts.get(state)} ${state}`).join(', ') || 'no microVMs';
  return (
    <span class="state-bar" role="img" aria-label={label} title={label}>
      {present.map((state) => (
        <span
          key={state}
          class={`tone-${MICROVM_STATE_LOOKS[state].tone}`}
          style={{ flexGrow: counts.get(state)! / Math.max(1, total) }}
        />
      ))}
    </span>
  );
}
