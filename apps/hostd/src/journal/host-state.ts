import type { PolicyHeld } from '#protocol';
import type { Answer, Change, HostRecord, IncarnationRecord, OutboxActs, OutboxFact } from './host-record';

/** How many answers to commands are remembered; older repeats are decided afresh, which the fences make safe. */
export const ANSWERS_KEPT = 8_192;
/** How many fences are remembered. A forgotten one could only matter to a command older than this many microVMs. */
export const FENCES_KEPT = 131_072;

/** How many batches of what guards did wait to be told; the oldest go first. */
const ACTS_KEPT = 256;

/** The journal, folded: what runs here, what never may again, what was answered and what is still to be told. */
export interface HostState {
  /** By microVM id: a host holds one incarnation of a microVM, alive or as remains. */
  incarnations: Map<string, IncarnationRecord>;
  /** microVM id -> this epoch and lower ones never start here (again). */
  fences: Map<string, number>;
  answers: Map<string, Answer>;
  /** In the order of telling. */
  outbox: Map<string, OutboxFact>;
  guardActs: Map<string, OutboxActs>;
  /** Of its host class; undefined: nobody has said anything, it goes by its own settings. */
  policy: PolicyHeld | undefined;
}

export function emptyHostState(): HostState {
  return {
    incarnations: new Map(),
    fences: new Map(),
    answers: new Map(),
    outbox: new Map(),
    guardActs: new Map(),
    policy: undefined,
  };
}

/**
 * Folds one record in, in place. Total: a record about an incarnation that is not there changes nothing of it, so that a
 * journal that lost a record still folds, and the scan of the host finds the difference.
 */
export function foldRecord(state: HostState, record: HostRecord): void {
  if (record.snapshot) foldSnapshot(state, record.snapshot);
  if (record.change) foldChange(state, record.change);
  if (record.pending) {
    const { microvmId, epoch, command } = record.pending;
    incarnationOf(state, microvmId, epoch)?.pending.push(command);
  }
  if (record.done) {
    const { microvmId, epoch, commandId } = record.done;
    const incarnation = incarnationOf(state, microvmId, epoch);
    if (incarnation) incarnation.pending = incarnation.pending.filter((command) => command.commandId !== commandId);
  }
  if (record.answer) {
    const { commandId, accepted, reason } = record.answer;
    remember(state.answers, commandId, { accepted, ...(reason === undefined ? {} : { reason }) }, ANSWERS_KEPT);
  }
  for (const fact of record.facts ?? []) state.outbox.set(fact.factId, fact);
  if (record.policy) state.policy = record.policy;
  if (record.guardActs) remember(state.guardActs, record.guardActs.factId, record.guardActs, ACTS_KEPT);
  for (const factId of record.acked ?? []) {
    state.outbox.delete(factId);
    state.guardActs.delete(factId);
  }
}

/** The incarnation of this very epoch, if it is here. */
export function incarnationOf(state: HostState, microvmId: string, epoch: number): IncarnationRecord | undefined {
  const incarnation = state.incarnations.get(microvmId);
  return incarnation?.epoch === epoch ? incarnation : undefined;
}

function foldSnapshot(state: HostState, snapshot: NonNullable<HostRecord['snapshot']>): void {
  for (const incarnation of snapshot.incarnations ?? []) {
    state.incarnations.set(incarnation.microvmId, structuredClone(incarnation));
  }
  for (const [microvmId, epoch] of snapshot.fences ?? []) fence(state, microvmId, epoch);
  for (const [commandId, answer] of snapshot.answers ?? []) state.answers.set(commandId, answer);
  for (const fact of snapshot.outbox ?? []) state.outbox.set(fact.factId, fact);
  for (const acts of snapshot.guardActs ?? []) state.guardActs.set(acts.factId, acts);
}

function foldChange(state: HostState, change: Change): void {
  const { microvmId, epoch } = change;
  if (change.type === 'admitted') {
    const { spec, coresidency, slot, receivedAt, admittedAt, expiry, restored } = change;
    state.incarnations.set(microvmId, {
      microvmId,
      epoch,
      spec,
      ...(coresidency === undefined ? {} : { coresidency }),
      ...(slot === undefined ? {} : { slot }),
      phase: 'admitted',
      receivedAt,
      admittedAt,
      ...(expiry === undefined ? {} : { expiry }),
      ...(restored ? { restored } : {}),
      pending: [],
    });
    return fence(state, microvmId, epoch - 1);
  }
  if (change.type === 'suspended') {
    const held = state.incarnations.get(microvmId);
    if (!held || (held.epoch !== epoch && held.phase !== 'suspended')) return;
    held.phase = 'suspended';
    held.epoch = epoch;
    held.pending = [];
    return fence(state, microvmId, epoch - 1);
  }
  if (change.type === 'fenced') return fence(state, microvmId, epoch);
  if (change.type === 'gone') {
    const held = state.incarnations.get(microvmId);
    if (held && held.epoch <= epoch) state.incarnations.delete(microvmId);
    return fence(state, microvmId, epoch);
  }
  const incarnation = incarnationOf(state, microvmId, epoch);
  if (!incarnation) return;
  switch (change.type) {
    case 'launched':
      incarnation.phase = 'launched';
      incarnation.identity = change.identity;
      if (change.oomKills !== undefined) incarnation.oomKills = change.oomKills;
      return;
    case 'metadata':
      incarnation.metadata = change.values;
      return;
    case 'expiry':
      if (change.expiry) incarnation.expiry = change.expiry;
      else delete incarnation.expiry;
      return;
    case 'running':
    case 'paused':
      incarnation.phase = change.type;
      return;
    case 'ended':
      incarnation.phase = 'ended';
      incarnation.exit = change.exit;
      incarnation.pending = [];
      return;
    case 'erasing':
      incarnation.erasing = change.upTo;
      return fence(state, microvmId, change.upTo);
  }
}

function fence(state: HostState, microvmId: string, epoch: number): void {
  const before = state.fences.get(microvmId) ?? 0;
  if (epoch > before) remember(state.fences, microvmId, epoch, FENCES_KEPT);
}

/** Puts an entry last and drops the first ones beyond `limit`. */
function remember<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > limit) map.delete(map.keys().next().value!);
}

const CHUNK = 500;

/** The fewest records that fold to the same state. */
export function snapshotRecords(state: HostState, at: number): HostRecord[] {
  const parts = <T>(items: Iterable<T>, wrap: (chunk: T[]) => NonNullable<HostRecord['snapshot']>): HostRecord[] => {
    const all = [...items];
    const records: HostRecord[] = [];
    for (let i = 0; i < all.length; i += CHUNK) records.push({ at, snapshot: wrap(all.slice(i, i + CHUNK)) });
    return records;
  };
  return [
    ...parts(state.fences, (fences) => ({ fences })),
    ...parts(state.incarnations.values(), (incarnations) => ({ incarnations })),
    ...parts(state.answers, (answers) => ({ answers })),
    ...parts(state.outbox.values(), (outbox) => ({ outbox })),
    ...parts(state.guardActs.values(), (guardActs) => ({ guardActs })),
    ...(state.policy ? [{ at, policy: state.policy }] : []),
  ];
}

/** How many things a state holds: what a compacted journal would still need a place for. */
export function liveCount(state: HostState): number {
  return state.incarnations.size + state.fences.size + state.answers.size + state.outbox.size + state.guardActs.size;
}
