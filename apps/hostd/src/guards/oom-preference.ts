import { writeFileSync } from 'node:fs';

/** The most there is: this process before any that has no more than its memory against it. */
const FIRST = '1000';

/**
 * Has the kernel take this process first, should it ever run out of memory: the last resort behind the reclaim order, and it must hit
 * no one that is guaranteed. Returns why not, where it cannot be said.
 */
export function takeFirstWhenOutOfMemory(pid: number): string | undefined {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, FIRST);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
