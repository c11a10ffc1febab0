import { KEEPS_STATE, LEGAL_MOVES } from './legal-paths';
import type { Violation } from './violation';

/** One stored record, as read back from the stream by any client. */
export interface StoredRecord {
  subject: string;
  sequence: number;
  /** The last sequence of its subject that its writer knew; undefined when the message does not say. */
  expected?: number | undefined;
  record: {
    microvmId: string;
    commandId: string;
    at: number;
    from: string | null;
    to: string;
    events: { type: string; hostId?: string; epoch?: number }[];
  };
}

/** What the histories say of one microVM in the end. */
export interface Ending {
  id: string;
  state: string;
  hostId: string | null;
  epoch: number;
  /** Of its last record. */
  sequence: number;
}

/** Checks every history by itself: S5 (no double), S7 (nothing after deleted), S9 (legal path), epochs that only grow. */
export function checkHistories(records: readonly StoredRecord[]): { violations: Violation[]; endings: Ending[] } {
  const violations: Violation[] = [];
  const bySubject = new Map<string, StoredRecord[]>();
  for (const stored of records) {
    const list = bySubject.get(stored.subject);
    if (list) list.push(stored);
    else bySubject.set(stored.subject, [stored]);
  }
  const endings = [...bySubject.values()].map((history) => checkOne(history, violations));
  return { violations, endings };
}

function checkOne(history: StoredRecord[], violations: Violation[]): Ending {
  const id = history[0]!.record.microvmId;
  const report = (rule: string, detail: string): void => void violations.push({ rule, subject: id, detail });
  const commands = new Set<string>();
  const ending: Ending = { id, state: 'none', hostId: null, epoch: 0, sequence: 0 };
  for (const { subject, record, sequence: at, expected } of history) {
    // In a cluster two writers may both be let through; the one that did not know of the other has written nothing that counts.
    if (expected !== undefined && expected < ending.sequence) continue;
    if (!subject.endsWith(`.${id}`) || record.microvmId !== id)
      report('S9', `record ${at} of ${record.microvmId} lies on ${subject}`);
    if (at <= ending.sequence) report('S5', `sequence ${at} came after ${ending.sequence}`);
    ending.sequence = at;
    if (commands.has(record.commandId)) report('S5', `command ${record.commandId} is on record twice`);
    commands.add(record.commandId);
    if ((record.from ?? 'none') !== ending.state)
      report('S9', `record ${at} leaves ${record.from}, but the state was ${ending.state}`);
    if (ending.state === 'deleted') report('S7', `record ${at} follows deleted`);
    const born = record.events.some(({ type }) => type === 'requested');
    if (born !== (ending.state === 'none')) report('S9', `record ${at}: born ${born ? 'twice' : 'never'}`);
    for (const event of record.events) checkEpoch(event, ending, at, report);
    const stays = record.to === ending.state && record.events.every(({ type }) => KEEPS_STATE.includes(type));
    if (!(stays && record.to !== 'deleting') && !LEGAL_MOVES[ending.state]?.includes(record.to)) {
      report(
        'S9',
        `record ${at}: ${ending.state} -> ${record.to} by ${record.events.map(({ type }) => type).join('+')}`,
      );
    }
    ending.state = record.to;
  }
  return ending;
}

/** S1 on paper: only the latest placement may speak, from the host it was made on. */
function checkEpoch(
  event: { type: string; hostId?: string; epoch?: number },
  ending: Ending,
  at: number,
  report: (rule: string, detail: string) => void,
): void {
  if (event.epoch === undefined || event.hostId === undefined) return;
  if (event.type === 'placed' || event.type === 'restoreRequested') {
    if (event.epoch !== ending.epoch + 1)
      report('S1', `record ${at} places epoch ${event.epoch} after ${ending.epoch}`);
    ending.epoch = event.epoch;
    ending.hostId = event.hostId;
    return;
  }
  if (event.epoch !== ending.epoch || event.hostId !== ending.hostId) {
    report(
      'S1',
      `record ${at}: ${event.type} of epoch ${event.epoch} on ${event.hostId}, expected ${ending.epoch} on ${ending.hostId}`,
    );
  }
}
