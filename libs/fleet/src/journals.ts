import type { NatsConnection } from 'nats';
import { Journal } from '#journal';
import { HOST_STREAM, HostRecord, MICROVM_STREAM, MicrovmRecord, RECEIPT_STREAM, Receipt } from '#protocol';

/** The histories of all microVMs. */
export function openMicrovmJournal(nc: NatsConnection): Promise<Journal<MicrovmRecord>> {
  return Journal.open(nc, {
    stream: MICROVM_STREAM.name,
    subjects: [...MICROVM_STREAM.subjects],
    decode: (json) => MicrovmRecord.parse(json),
  });
}

/** The histories of all hosts. */
export function openHostJournal(nc: NatsConnection): Promise<Journal<HostRecord>> {
  return Journal.open(nc, {
    stream: HOST_STREAM.name,
    subjects: [...HOST_STREAM.subjects],
    decode: (json) => HostRecord.parse(json),
  });
}

/** The receipts of all placements. */
export function openReceiptJournal(nc: NatsConnection): Promise<Journal<Receipt>> {
  return Journal.open(nc, {
    stream: RECEIPT_STREAM.name,
    subjects: [...RECEIPT_STREAM.subjects],
    decode: (json) => Receipt.parse(json),
  });
}
