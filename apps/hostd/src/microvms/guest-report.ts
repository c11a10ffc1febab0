import type { Exit } from '#protocol';

// Numbers of VOLLEY_REPORT_* in native/abi/volley_abi.h.
const EXITED = 1;
const SIGNALED = 2;
const OUT_OF_MEMORY = 3;
const NOT_STARTED = 4;
/** The guest had been told to end before the program did. */
const ASKED = 0x80_0000;

/** How the program of a Linux image ended, as its init reported; undefined when it did not, or what it said makes no sense. */
export function programEnd(report: number | undefined): Exit['program'] {
  if (report === undefined) return undefined;
  const detail = report & 0xff_ffff & ~ASKED;
  const asked = (report & ASKED) === 0 ? {} : { asked: true };
  switch (report >>> 24) {
    case EXITED:
      return detail <= 255 ? { code: detail, ...asked } : undefined;
    case SIGNALED:
      return detail >= 1 && detail <= 64 ? { signal: detail, ...asked } : undefined;
    case OUT_OF_MEMORY:
      return { outOfMemory: true };
    case NOT_STARTED:
      return { errno: detail };
    default:
      return undefined;
  }
}
