import { sortableId } from '#protocol';

/** The id of the n-th microVM, or template, of a test: the same in every run. */
export const idOf = (n: number): string => sortableId(1_700_000_000_000 + n, Buffer.alloc(10, n));
