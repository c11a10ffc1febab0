import type { NatsConnection } from 'nats';
import { Journal, type UnreadableMessage } from '#journal';
import { HOST_STREAM, HostRecord, MICROVM_STREAM, MicrovmRecord, RECEIPT_STREAM, ReceiptMessage } from '#protocol';

/** Told of messages on a history's subject that are no records. They are skipped: one stray message must not stop a fleet. */
export type OnUnreadable = (message: UnreadableMessage) => void;

// Not immutable: what a server is told to refuse for ever could never be compacted when retention comes.

/** The histories of all microVMs. */
export function openMicrovmJournal(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<Journal<MicrovmRecord>> {
  return Journal.open(nc, {
    stream: MICROVM_STREAM.name,
    subjects: [...MICROVM_STREAM.subjects],
    immutable: false,
    decode: (json) => MicrovmRecord.parse(json),
    onUnreadable,
  });
}

/** The histories of all hosts. */
export function openHostJournal(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<Journal<HostRecord>> {
  return Journal.open(nc, {
    stream: HOST_STREAM.name,
    subjects: [...HOST_STREAM.subjects],
    immutable: false,
    decode: (json) => HostRecord.parse(json),
    onUnreadable,
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
