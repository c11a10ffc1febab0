import { HostBooks } from '../host/host-books';
import type { JournalRecord } from '../host/read-journal';
import type { Violation } from './violation';

/** What a host may promise, as it described itself when it registered. */
export interface HostLimits {
  cpus: number;
  memoryMiB: number;
  reserveMiB: number;
  slots: number;
  overcommit: { cpu: number; memory: number };
}

/**
 * Checks every prefix of a host's journal, so that launches in flight count: S4 (never more promised than there is), S6 (a slot has
 * one holder), S1 (an epoch starts when the one before has ended) and S7 (what was erased or given up never starts).
 */
export function checkJournal(hostId: string, records: readonly JournalRecord[], limits: HostLimits): Violation[] {
  const violations: Violation[] = [];
  const books = new HostBooks();
  for (const record of records) {
    const { change } = record;
    if (change?.type === 'admitted')
      checkGrant(books, change, (rule, detail) => report(rule, change.microvmId, detail));
    books.apply(record);
    if (change?.type === 'admitted') checkSums(books, limits, (detail) => report('S4', hostId, detail));
  }
  return violations;

  function report(rule: string, subject: string, detail: string): void {
    violations.push({ rule, subject, detail: `${detail} (journal of ${hostId})` });
  }
}

function checkGrant(
  books: HostBooks,
  { microvmId, epoch, slot }: NonNullable<JournalRecord['change']>,
  report: (rule: string, detail: string) => void,
): void {
  const held = books.incarnations.get(microvmId);
  if (held && !held.ended) report('S1', `epoch ${epoch} was granted while epoch ${held.epoch} had not ended`);
  const fence = books.fences.get(microvmId) ?? 0;
  if (epoch <= fence) report('S7', `epoch ${epoch} was granted although epochs up to ${fence} were over`);
  for (const other of books.alive()) {
    if (slot !== undefined && other.slot === slot && other.microvmId !== microvmId)
      report('S6', `got slot ${slot}, which ${other.microvmId} of ${other.tenant} still holds`);
  }
}

function checkSums(books: HostBooks, limits: HostLimits, report: (detail: string) => void): void {
  const alive = books.alive();
  const vcpus = alive.reduce((sum, one) => sum + one.vcpus, 0);
  const memoryMiB = alive.reduce((sum, one) => sum + one.memoryMiB, 0);
  const { cpus, slots, overcommit } = limits;
  const mostMemory = (limits.memoryMiB - limits.reserveMiB) * overcommit.memory;
  if (alive.length > slots) report(`${alive.length} slots granted of ${slots}`);
  if (vcpus > cpus * overcommit.cpu) report(`${vcpus} vCPUs granted of ${cpus * overcommit.cpu}`);
  if (memoryMiB > mostMemory) report(`${memoryMiB} MiB granted of ${mostMemory}`);
}
