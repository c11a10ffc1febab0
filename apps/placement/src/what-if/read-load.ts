import type { NatsConnection } from 'nats';
import { openHostJournal, openMicrovmJournal, openUsageJournal, type OnUnreadable } from '#fleet';
import { OperationError, type UsageRecord, type WhatIfQuestion } from '#protocol';
import { TenantDirectory } from '#tenancy';
import { ClaimReader, claimsIn, HostReader, type Load, type RecordedLimits } from '#whatif';

/** Claims that one question may be about. */
const MOST_CLAIMS = 1_000_000;
/** How long after its own time a record may be stored, ms: a day allows for clocks that are far off. */
const STORED_WITHIN_MS = 86_400_000;

/**
 * Reads from the histories what was asked of the fleet between two instants. They are read from their beginning, since whoever came
 * before and stayed takes room. The rules of co-residency are today's: what they were then is not on record.
 *
 * @throws OperationError `invalid` when nothing was asked for in that time; `refused` when it is too much.
 */
export async function readLoad(
  nats: NatsConnection,
  { from, to }: Pick<WhatIfQuestion, 'from' | 'to'>,
  deadlineMs: number,
): Promise<Load & { compacted: number }> {
  const skip: OnUnreadable = () => undefined;
  const [microvms, hosts, used, tenants] = await Promise.all([
    openMicrovmJournal(nats, skip),
    openHostJournal(nats, skip),
    openUsageJournal(nats),
    TenantDirectory.open(nats),
  ]);
  tenants.close();
  const claims = new ClaimReader((tenant) => tenants.coresidencyOf(tenant));
  const plans = new HostReader();
  const usage: UsageRecord[] = [];
  const promised: RecordedLimits[] = [];
  const isLater = (timeMs: number): boolean => timeMs > to + STORED_WITHIN_MS;
  await Promise.all([
    microvms.scan({
      deadlineMs,
      onRecord: ({ record, timeMs }) => {
        if (isLater(timeMs)) return 'enough';
        claims.take(record);
        if (claims.claims.length > MOST_CLAIMS) throw tooMuch();
      },
    }),
    hosts.scan({
      deadlineMs,
      onRecord: ({ record, sequence, timeMs }) => {
        if (isLater(timeMs)) return 'enough';
        plans.take(record, sequence);
      },
    }),
    used.scan({
      deadlineMs,
      onRecord: ({ record }) => {
        const { hostId, limits } = record;
        if (limits && record.to < to) promised.push({ hostId, at: record.to, cpu: limits[0], memory: limits[1] });
        if (record.to > from && record.from < to) usage.push(record);
      },
    }),
  ]);
  const within = claimsIn(claims.claims, from, to);
  if (!within.some(({ askedAt }) => askedAt >= from)) {
    throw new OperationError('invalid', 'no microVM was created or started between these instants: choose others');
  }
  return {
    from,
    to,
    claims: within,
    hosts: plans.plans(from, to, promised),
    usage,
    compacted: claims.fragments,
  };
}

function tooMuch(): OperationError {
  return new OperationError('refused', `the histories hold more than ${MOST_CLAIMS} creates and starts`);
}
