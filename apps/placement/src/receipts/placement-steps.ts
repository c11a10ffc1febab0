import { classOf, SHARED, type PlacementStep } from '#protocol';
import { Occupants, type Amounts, type Demand, type HostRow, type HostTable } from '#scheduling';

type Tuple = [number, number, number];
type HostStep = Extract<PlacementStep, { do: 'host' }>;
type LoadStep = Extract<PlacementStep, { do: 'load' }>;
export type DecideStep = Extract<PlacementStep, { do: 'decide' }>;

/** All that is known of a host. */
export function hostStep(row: HostRow): HostStep {
  const { hostId, state, kvm, linux, network, images, cachedImages, labels, snapshots, capacity } = row;
  return {
    ...loadStep(row),
    do: 'host',
    ...{ hostId, state, kvm, linux, network, images, cachedImages, labels, capacity: toTuple(capacity) },
    ...(snapshots ? { snapshots } : {}),
  };
}

/** What changes with every report. */
export function loadStep(row: HostRow): LoadStep {
  const { hostId, reportedAt, free, freeGuaranteed, shutTo, pressurePercent, occupants, groups } = row;
  return {
    do: 'load',
    ...{ hostId, reportedAt, free: toTuple(free), pressurePercent },
    ...(freeGuaranteed.vcpus === free.vcpus && freeGuaranteed.memoryMiB === free.memoryMiB
      ? {}
      : { freeGuaranteed: [freeGuaranteed.vcpus, freeGuaranteed.memoryMiB] }),
    ...(shutTo.length === 0 ? {} : { shutTo: [...shutTo] }),
    occupants: [...occupants.entries()].map(({ tenant, count, coresidency }) =>
      coresidency === SHARED ? [tenant, count] : [tenant, count, coresidency],
    ),
    groups: [...groups],
  };
}

/** Does one step on a table. The hosts that were decided on are taken from the record, not decided again. */
export function applyStep(table: HostTable, step: PlacementStep): void {
  switch (step.do) {
    case 'host': {
      const { hostId, state, kvm, linux, network, images, cachedImages, labels, snapshots, capacity } = step;
      const fixed = { hostId, state, kvm, linux, network, images, cachedImages, labels, snapshots };
      return table.set({ ...fixed, capacity: toAmounts(capacity), ...loadOf(step) });
    }
    case 'load': {
      const row = table.rows[table.indexOf(step.hostId) ?? -1];
      if (row) table.set({ ...row, ...loadOf(step) });
      return;
    }
    case 'decide':
      if (step.hostId !== null) table.debit(step.hostId, demandIn(step));
  }
}

/** What was asked for in a decision; before there were classes, everything was guaranteed. */
export function demandIn({ demand }: DecideStep): Demand {
  return { ...demand, class: classOf(demand) };
}

function loadOf({
  reportedAt,
  free,
  freeGuaranteed,
  shutTo = [],
  pressurePercent,
  occupants,
  groups,
}: HostStep | LoadStep) {
  const [vcpus, memoryMiB] = freeGuaranteed ?? [free[1], free[2]];
  return {
    reportedAt,
    free: toAmounts(free),
    freeGuaranteed: { vcpus, memoryMiB },
    shutTo,
    pressurePercent,
    occupants: new Occupants(
      occupants.map(([tenant, count, coresidency = SHARED]) => ({ tenant, count, coresidency })),
    ),
    groups: new Map(groups),
  };
}

const toTuple = ({ slots, vcpus, memoryMiB }: Readonly<Amounts>): Tuple => [slots, vcpus, memoryMiB];
const toAmounts = ([slots, vcpus, memoryMiB]: Tuple): Amounts => ({ slots, vcpus, memoryMiB });
