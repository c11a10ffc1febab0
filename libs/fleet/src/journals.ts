import type { NatsConnection } from 'nats';
import { Journal, type UnreadableMessage } from '#journal';
import { GROUP_MACHINE_VERSION, HOST_MACHINE_VERSION, MICROVM_MACHINE_VERSION } from '#lifecycle';
import { NewerMachineError } from './newer-machine-error';
import { storedMicrovmRecordOf, type StoredMicrovmRecord } from './past/stored-record';
import {
  GROUP_STREAM,
  GroupRecord,
  HOST_STREAM,
  HostRecord,
  MICROVM_STREAM,
  MicrovmRecord,
  RECEIPT_STREAM,
  ReceiptMessage,
} from '#protocol';

/** Told of messages on a history's subject that are no records. They are skipped: one stray message must not stop a fleet. */
export type OnUnreadable = (message: UnreadableMessage) => void;

// Not immutable: what a server is told to refuse for ever could never be compacted when retention comes.

/** The histories of all microVMs. */
export function openMicrovmJournal(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<Journal<MicrovmRecord>> {
  return openMicrovms(nc, microvmRecordOf, onUnreadable);
}

/** The same for who reads all of them and needs few: what is in a record is checked with {@link microvmRecordOf} when it is needed. */
export function openStoredMicrovms(
  nc: NatsConnection,
  onUnreadable: OnUnreadable,
): Promise<Journal<StoredMicrovmRecord>> {
  return openMicrovms(nc, storedMicrovmRecordOf, onUnreadable);
}

function openMicrovms<R>(
  nc: NatsConnection,
  decode: (json: unknown) => R,
  onUnreadable: OnUnreadable,
): Promise<Journal<R>> {
  return Journal.open(nc, {
    stream: MICROVM_STREAM.name,
    subjects: [...MICROVM_STREAM.subjects],
    immutable: false,
    decode: (json, subject) => decode(readable(json, subject, MICROVM_MACHINE_VERSION)),
    onUnreadable: butNotNewer(onUnreadable),
  });
}

/** @throws NewerMachineError when a newer machine wrote it than this program knows. */
function readable(json: unknown, subject: string, known: number): unknown {
  const machine = (json as { machine?: unknown } | null)?.machine;
  if (typeof machine === 'number' && machine > known) throw new NewerMachineError(subject, machine, known);
  return json;
}

/** What cannot be read because it is newer is not skipped: it ends the reader. */
function butNotNewer(onUnreadable: OnUnreadable): OnUnreadable {
  return (message) => {
    if (message.error instanceof NewerMachineError) throw message.error;
    onUnreadable(message);
  };
}

/** A record of a microVM's history. @throws ZodError when it is none */
export function microvmRecordOf(json: unknown): MicrovmRecord {
  return MicrovmRecord.parse(json);
}

/** The histories of all hosts. */
export function openHostJournal(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<Journal<HostRecord>> {
  return Journal.open(nc, {
    stream: HOST_STREAM.name,
    subjects: [...HOST_STREAM.subjects],
    immutable: false,
    decode: (json, subject) => HostRecord.parse(readable(json, subject, HOST_MACHINE_VERSION)),
    onUnreadable: butNotNewer(onUnreadable),
  });
}

/** The histories of all groups. */
export function openGroupJournal(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<Journal<GroupRecord>> {
  return Journal.open(nc, {
    stream: GROUP_STREAM.name,
    subjects: [...GROUP_STREAM.subjects],
    immutable: false,
    decode: (json, subject) => GroupRecord.parse(readable(json, subject, GROUP_MACHINE_VERSION)),
    onUnreadable: butNotNewer(onUnreadable),
  });
}

/** The receipts of all placements: decisions with what was known of hosts. */
export function openReceiptJournal(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<Journal<ReceiptMessage>> {
  return Journal.open(nc, {
    stream: RECEIPT_STREAM.name,
    subjects: [...RECEIPT_STREAM.subjects],
    immutable: false,
    decode: (json) => ReceiptMessage.parse(json),
    onUnreadable,
  });
}
