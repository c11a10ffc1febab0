import { canonicalJson, microvmContext, microvmState, hostState, type MicrovmLife } from '#lifecycle';
import type { GroupDifference, GroupSummary, HostDifference, MicrovmDifference, MicrovmSituation } from '#protocol';
import type { FleetPicture } from './fleet-picture';

/** What became of the fleet between two instants. */
export interface FleetDiff {
  readonly from: FleetPicture;
  readonly to: FleetPicture;
  /** In order of their ids; those that are as they were are left out. */
  readonly changes: readonly MicrovmDifference[];
  readonly hosts: readonly HostDifference[];
  readonly groups: readonly GroupDifference[];
  readonly sums: Record<MicrovmDifference['change'] | 'unchanged', number>;
}

/** Compares two pictures; `cameAndWent`: ids of those that began and ended in between. */
export function diffPictures(from: FleetPicture, to: FleetPicture, cameAndWent: readonly string[]): FleetDiff {
  const before = from.microvms.lives;
  const after = to.microvms.lives;
  const changes: MicrovmDifference[] = cameAndWent.map((id) => ({
    id,
    name: null,
    tenant: null,
    change: 'cameAndWent',
    from: null,
    to: null,
  }));
  let unchanged = 0;
  for (const [id, life] of before) {
    const next = after.get(id);
    if (!next) changes.push(changed(life, 'ended', situationOf(life), null));
    else if (next === life || equal(situationOf(life), situationOf(next))) unchanged++;
    else changes.push(changed(next, 'changed', situationOf(life), situationOf(next)));
  }
  for (const [id, life] of after) {
    if (!before.has(id)) changes.push(changed(life, 'appeared', null, situationOf(life)));
  }
  changes.sort((a, b) => (a.id < b.id ? -1 : 1));
  const sums = { appeared: 0, changed: 0, ended: 0, cameAndWent: 0, unchanged };
  for (const { change } of changes) sums[change]++;
  return { from, to, changes, hosts: diffHosts(from, to), groups: diffGroups(from.groups(), to.groups()), sums };
}

function diffHosts(from: FleetPicture, to: FleetPicture): HostDifference[] {
  const before = from.hostsPicture.lives;
  const changes: HostDifference[] = [];
  for (const [id, life] of to.hostsPicture.lives) {
    const then = before.get(id);
    const was = then ? hostState(then) : null;
    if (was !== hostState(life)) changes.push({ id, from: was, to: hostState(life) });
  }
  return changes.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function diffGroups(from: readonly GroupSummary[], to: readonly GroupSummary[]): GroupDifference[] {
  const before = new Map(from.map((group) => [group.id, group]));
  const after = new Map(to.map((group) => [group.id, group]));
  const situation = (group: GroupSummary | undefined): GroupDifference['to'] => {
    if (!group) return null;
    const { state, replicas, specRevision, rollout } = group;
    return { state, replicas, specRevision, rollout };
  };
  return [...new Set([...before.keys(), ...after.keys()])]
    .sort()
    .map((id) => ({ id, from: situation(before.get(id)), to: situation(after.get(id)) }))
    .filter((one) => canonicalJson(one.from) !== canonicalJson(one.to));
}

function changed(
  life: MicrovmLife,
  change: MicrovmDifference['change'],
  from: MicrovmSituation | null,
  to: MicrovmSituation | null,
): MicrovmDifference {
  const { name, tenant } = microvmContext(life).spec;
  return { id: life.id, name: name ?? null, tenant, change, from, to };
}

function situationOf(life: MicrovmLife): MicrovmSituation {
  const { hostId, epoch } = microvmContext(life);
  return { state: microvmState(life), hostId, epoch };
}

function equal(a: MicrovmSituation, b: MicrovmSituation): boolean {
  return a.state === b.state && a.hostId === b.hostId && a.epoch === b.epoch;
}
