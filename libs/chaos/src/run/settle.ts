import type { ChaosFleet } from '../fleet/chaos-fleet';
import { SECOND_HOSTD } from '../fleet/chaos-fleet';
import { sleep } from '../fleet/wait';
import { HostBooks } from '../host/host-books';
import { readJournal, type JournalRecord } from '../host/read-journal';
import { scanBelongings, type HostPlace } from '../host/scan-belongings';
import { checkBelongings } from '../invariants/check-belongings';
import { checkConsoles } from '../invariants/check-consoles';
import { checkHistories, type Ending, type StoredRecord } from '../invariants/check-histories';
import { checkHosts } from '../invariants/check-hosts';
import { checkJournal, type HostLimits } from '../invariants/check-journal';
import { checkViews, type ToldView } from '../invariants/check-views';
import { readHistories } from '../invariants/read-histories';
import type { Violation } from '../invariants/violation';
import { join } from 'node:path';

/** L1: within this time after the last fault everything is at rest and as it should be. */
export const SETTLE_MS = 30_000;
const PERIOD_MS = 250;

export interface Verdict {
  violations: Violation[];
  records: StoredRecord[];
  endings: Ending[];
  /** ms until nothing was wrong any more; undefined when that time never came. */
  settledMs: number | undefined;
}

export interface Expected {
  /** ids that the fleet has accepted in this run. */
  accepted: readonly string[];
  /** Those whose console tells what it found. */
  telling: readonly string[];
  /** Sequence of the last record before this run. */
  since: number;
}

/**
 * Looks at everything again and again until nothing is wrong. What is still wrong when the time is up is what is reported: a fleet has
 * this long to settle, and no longer; what is wrong for good (a history, a journal) is wrong at the end as well.
 */
export async function settle(fleet: ChaosFleet, expected: Expected): Promise<Verdict> {
  const startedMs = performance.now();
  for (;;) {
    const verdict = await look(fleet, expected).catch((error: unknown) => failure(error));
    const tookMs = performance.now() - startedMs;
    if (verdict.violations.length === 0) return { ...verdict, settledMs: tookMs };
    if (tookMs > SETTLE_MS) return verdict;
    await sleep(PERIOD_MS);
  }
}

/** Something that must answer does not: that is a violation of L1 when it lasts. */
function failure(error: unknown): Verdict {
  return {
    violations: [{ rule: 'L1', subject: 'fleet', detail: String(error) }],
    records: [],
    endings: [],
    settledMs: undefined,
  };
}

/** Everything that is wrong at this moment. */
export async function look(fleet: ChaosFleet, { accepted, telling, since }: Expected): Promise<Verdict> {
  const nats = await fleet.nats();
  const records = await readHistories(nats, 'MICROVM_HISTORY', since + 1);
  const { violations, endings } = checkHistories(records);
  const vmms = fleet.vmms();
  violations.push(...checkHosts(endings, vmms, accepted));
  const wanted = new Set(accepted);
  for (const { id } of endings) {
    if (!wanted.has(id))
      violations.push({ rule: 'S5', subject: id, detail: 'has a history, but nobody was told that it was accepted' });
  }
  violations.push(...checkViews(endings, await views(fleet, accepted)));
  violations.push(...checkConsoles(await consoles(fleet, telling)));
  const limits = await limitsOf(fleet);
  for (const place of fleet.hosts) violations.push(...checkHost(fleet, place, limits.get(place.hostId)));
  return { violations, records, endings, settledMs: undefined };
}

async function views(fleet: ChaosFleet, ids: readonly string[]): Promise<ToldView[]> {
  return Promise.all(ids.map(async (id) => (await fleet.rest<ToldView>('GET', `/v1/microvms/${id}`)).body));
}

async function consoles(fleet: ChaosFleet, ids: readonly string[]): Promise<Map<string, string>> {
  const texts = await Promise.all(
    ids.map(async (id) => {
      const { status, body } = await fleet.rest<string>('GET', `/v1/microvms/${id}/log`);
      return [id, status === 200 ? body : ''] as const;
    }),
  );
  return new Map(texts);
}

/** By what the hosts said of themselves when they registered last. */
export async function limitsOf(fleet: ChaosFleet): Promise<Map<string, HostLimits>> {
  interface HostRecord extends StoredRecord {
    record: StoredRecord['record'] & { hostId: string; events: { type: string; description?: HostLimits }[] };
  }
  const limits = new Map<string, HostLimits>();
  for (const { record } of await readHistories<HostRecord>(await fleet.nats(), 'HOST_HISTORY'))
    for (const { description } of record.events) if (description) limits.set(record.hostId, description);
  return limits;
}

function checkHost(fleet: ChaosFleet, place: HostPlace, limits: HostLimits | undefined): Violation[] {
  const { hostId, hostDir, runDir } = place;
  const agent = fleet.processes().get(hostDir === fleet.second.place.hostDir ? SECOND_HOSTD : 'volley-hostd');
  if (agent === undefined || !limits)
    return [{ rule: 'L1', subject: hostId, detail: 'its agent is down, or was never heard' }];
  const { records, violations } = checkJournalOf(place, limits);
  const books = new HostBooks();
  for (const record of records) books.apply(record);
  const vmms = fleet.vmms().filter((vmm) => vmm.runDirectory === runDir);
  const onHost = { hostId, pid: agent, slots: limits.slots };
  return [...violations, ...checkBelongings(onHost, books, vmms, scanBelongings(place))];
}

/** The journal of a host by itself, whether or not its agent runs. */
export function checkJournalOf(
  { hostId, hostDir }: HostPlace,
  limits: HostLimits,
): { records: JournalRecord[]; violations: Violation[] } {
  const { records, damagedInside } = readJournal(join(hostDir, 'journal'));
  const violations = checkJournal(hostId, records, limits);
  if (damagedInside > 0)
    violations.push({ rule: 'S3', subject: hostId, detail: `${damagedInside} damaged records inside its journal` });
  return { records, violations };
}
