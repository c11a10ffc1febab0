import { z } from 'zod';

const PAGE_BYTES = 4_096;
/** More is not a first moment: reading it ahead would hold up what is needed first. */
export const WORKING_SET_MOST_BYTES = 8 * 1024 * 1024;
/** Runs of pages: each has one page at least. */
const RUNS_MOST = WORKING_SET_MOST_BYTES / PAGE_BYTES;

/**
 * Where in the memory of a snapshot those that go on from it are in their first moments: runs of whole pages, in order, apart from each other. It is a
 * hint, and whoever takes it is out for nothing more than to read that much ahead.
 */
export const WorkingSet = z
  .strictObject({
    schema: z.literal(1),
    /** Of each: where it begins, and its length, bytes. */
    runs: z.array(z.tuple([z.int().nonnegative(), z.int().positive()])).max(RUNS_MOST),
  })
  .superRefine(({ runs }, context) => {
    let end = -1;
    let bytes = 0;
    for (const [index, [offset, length]] of runs.entries()) {
      const isWhole = offset % PAGE_BYTES === 0 && length % PAGE_BYTES === 0;
      if (!isWhole || offset <= end || (bytes += length) > WORKING_SET_MOST_BYTES) {
        const message = 'must be whole pages, in order, apart from each other, and 8 MiB at most';
        context.addIssue({ code: 'custom', path: ['runs', index], message });
        return;
      }
      end = offset + length;
    }
  });
export type WorkingSet = z.output<typeof WorkingSet>;

/** Bytes of memory that it lies in, from the first on. */
export const workingSetEnd = ({ runs }: WorkingSet): number => {
  const [offset, length] = runs.at(-1) ?? [0, 0];
  return offset + length;
};

/** Bytes that are read ahead. */
export const workingSetBytes = ({ runs }: WorkingSet): number => runs.reduce((sum, [, length]) => sum + length, 0);
