import { readFileSync, writeFileSync } from 'node:fs';

/** The most there is: this process before any that has no more than its memory against it. */
const FIRST = '1000';
/** After all that has not asked to be spared; not -1000, which would have an agent that leaks take the whole host along. */
const LAST = -900;

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

/**
 * Has the kernel take this process, the agent, after its guests: among thousands of small VMMs it is the largest process of the host, and
 * its end would free nothing that lasts. VMMs do not inherit it (`native/binding/src/child_launcher.cpp`); a unit that asks for more
 * is left its way. Returns why not, where the kernel refuses.
 */
export function takeLastWhenOutOfMemory(ownScore = '/proc/self/oom_score_adj'): string | undefined {
  try {
    if (Number(readFileSync(ownScore, 'utf8')) > LAST) writeFileSync(ownScore, `${LAST}`);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
