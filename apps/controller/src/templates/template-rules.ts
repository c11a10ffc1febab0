import { microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import type { TemplateRecord } from '#protocol';

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
  if (snapshot.taken) return { ...record, ...snapshot.taken, state: 'ready', reason: null, updatedAt: now };
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
  if (record.state === 'ready' && hosts.length === 0) {
    return { ...record, hosts, state: 'failed', reason: 'no host holds it any more', updatedAt: now };
  }
  return { ...record, hosts, updatedAt: now };
}

/** Whether a host is to give it up. */
export function isUnwanted({ state }: TemplateRecord): boolean {
  return state === 'failed' || state === 'deleted';
}
