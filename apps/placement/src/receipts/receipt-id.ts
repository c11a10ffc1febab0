/** Where a receipt is: the sequence of its message in the stream, and the number of its step there. */
export interface ReceiptPlace {
  sequence: number;
  step: number;
}

export function receiptId(sequence: number, step: number): string {
  return `${sequence}.${step}`;
}

/** Undefined: no id of a receipt, or one of a build that stored receipts otherwise. */
export function receiptPlace(id: string): ReceiptPlace | undefined {
  const [, sequence, step] = /^([1-9]\d{0,15})\.(\d{1,9})$/.exec(id) ?? [];
  return sequence === undefined ? undefined : { sequence: Number(sequence), step: Number(step) };
}
