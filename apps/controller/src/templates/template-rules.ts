import { microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import type { HostStateName, PoolPolicy, Quotas, Template, TemplateRecord } from '#protocol';

const MIB = 2 ** 20;
/** How long the order to take a snapshot may be on its way into the history of the source, ms. */
const ORDER_MS = 30_000;
/** How long the word of a host may be on its way: what it did not hold when it sent it, it may hold by now, ms. */
const WORD_MS = 5_000;

/** What becomes of a template that is being made, as far as the history of its source tells; undefined: nothing yet. Pure. */
export function settledBy(record: TemplateRecord, life: MicrovmLife | null, now: number): TemplateRecord | undefined {
  if (record.state !== 'creating') return undefined;
  const failed = (reason: string): TemplateRecord => ({ ...record, state: 'failed', reason, updatedAt: now });
  const snapshot = life ? microvmContext(life).snapshot : undefined;
  if (!life || snapshot?.templateId !== record.id) {
    return now - record.createdAt > ORDER_MS
      ? failed('its source was never told to make it, or made another since')
      : undefined;
  }
  if (snapshot.taken) {
    const { unusedDisks = [], ...taken } = snapshot.taken;
    return { ...record, ...taken, unusedDisks, state: 'ready', reason: null, updatedAt: now };
  }
  if (snapshot.failed !== undefined) return failed(snapshot.failed);
  const state = microvmState(life);
  if (state === 'snapshotting' || state === 'unreachable') return undefined;
  return failed(`its source was ${state} before its snapshot was taken`);
}

/** What the word of a host changes of a template: undefined for a record that goes. Pure. */
export function heardFrom(
  record: TemplateRecord,
  { hostId, holds, now }: { hostId: string; holds: boolean; now: number },
): TemplateRecord | undefined {
  const listed = record.hosts.includes(hostId);
  if (record.state === 'creating' || listed === holds) return record;
  if (holds) return record.state === 'ready' ? { ...record, hosts: [...record.hosts, hostId], updatedAt: now } : record;
  if (record.state === 'ready' && now - record.updatedAt < WORD_MS) return record;
  const hosts = record.hosts.filter((one) => one !== hostId);
  if (record.state === 'deleted') return hosts.length === 0 ? undefined : { ...record, hosts, updatedAt: now };
  if (record.state === 'ready' && hosts.length === 0 && !record.stored) {
    return { ...record, hosts, state: 'failed', reason: 'no host holds it any more', updatedAt: now };
  }
  return { ...record, hosts, updatedAt: now };
}

/** What a host has to say of its publication. Pure. */
export function storedBy(
  record: TemplateRecord,
  hostId: string,
  { problem }: { problem: string | null },
  now: number,
): TemplateRecord {
  if (record.state !== 'ready' || record.stored || !record.hosts.includes(hostId)) return record;
  return { ...record, stored: problem === null, storeProblem: problem, updatedAt: now };
}

/**
 * A host has not found what the object store was to have: who holds it is to publish it again. With no holder it stays as it is, for one host
 * that is wrong must not end a template. Pure.
 */
export function lostFromStore(record: TemplateRecord, now: number): TemplateRecord {
  if (record.state !== 'ready' || !record.stored || record.hosts.length === 0) return record;
  return { ...record, stored: false, storeProblem: 'the object store has lost it', updatedAt: now };
}

/** Whether a host is to give it up. */
export function isUnwanted({ state }: TemplateRecord): boolean {
  return state === 'failed' || state === 'deleted';
}

/** What a template that is being made may come to take, beside its memory, is not known: it counts with that. */
const bytesOf = ({ bytes, memoryMiB }: Template): number => bytes ?? memoryMiB * MIB;

/** Which quotas the templates of a tenant exceed, with the numbers; none: they are within. Pure. */
export function templatesExcess(quotas: Quotas, held: readonly Template[]): { path: string; message: string }[] {
  const counted = held.filter(({ state }) => state === 'creating' || state === 'ready');
  const takes = {
    templates: counted.length,
    templateMiB: Math.ceil(counted.reduce((sum, one) => sum + bytesOf(one), 0) / MIB),
  };
  return (['templates', 'templateMiB'] as const).flatMap((what) => {
    const most = quotas[what];
    if (most === undefined || takes[what] <= most) return [];
    return [{ path: `quotas.${what}`, message: `${takes[what]} with this one, ${most} are allowed` }];
  });
}

/** The same for the clones that the pools of a tenant may keep ready on each host, one pool as it is to be. Pure. */
export function poolsExcess(
  { poolMicrovms: most }: Quotas,
  held: readonly Template[],
  { id, max }: { id: string; max: number },
): { path: string; message: string }[] {
  if (most === undefined) return [];
  const others = held.reduce((sum, { id: other, pool }) => sum + (other === id ? 0 : (pool?.max ?? 0)), 0);
  if (max === 0 || others + max <= most) return [];
  const message = `pools of other templates may keep ${others} of ${most} ready, ${max} more were asked for`;
  return [{ path: 'quotas.poolMicrovms', message }];
}

/** The pools that a host is to keep of those that are ready there: none while nothing new is placed on it. */
export function poolsOn(
  state: HostStateName | undefined,
  ready: readonly TemplateRecord[],
): { templateId: string; reference: string; policy: PoolPolicy }[] {
  if (state !== 'ready') return [];
  return ready.flatMap(({ id, digest, pool }) =>
    pool ? [{ templateId: id, reference: `${id}@${digest}`, policy: pool }] : [],
  );
}
