/** What the operator can do about what the kernel refuses, by the name of the error. */
const REMEDIES: readonly [sign: RegExp, remedy: string][] = [
  [
    /\bEMFILE\b|too many open files(?! in system)/i,
    'the host agent has used up its open files: raise its limit (ulimit -n, LimitNOFILE) or lower VOLLEY_SLOTS',
  ],
  [/\bENFILE\b|too many open files in system/i, 'the host has used up its open files: raise fs.file-max'],
  [
    /\bEAGAIN\b|resource temporarily unavailable/i,
    'the host agent may have no more processes: raise its limit (ulimit -u, TasksMax, pids.max of its cgroup)',
  ],
  [/\bENOMEM\b|cannot allocate memory/i, 'the host has no memory left: raise VOLLEY_RESERVE_MIB or stop microVMs'],
  [
    /\bENOSPC\b|no space left on device/i,
    'a file system of the host is full: free some in VOLLEY_HOST_DIR and VOLLEY_RUN_DIR',
  ],
  [
    /cannot open the tap|\/dev\/net\/tun/,
    'check that /dev/net/tun works (kernel module tun) and that the host agent runs as root',
  ],
];

/** The message of an error for a history: what is wrong, and what to do where that is known. */
export function withRemedy(error: unknown): string {
  const { message, code = '' } = error as NodeJS.ErrnoException;
  const remedy = REMEDIES.find(([sign]) => sign.test(code) || sign.test(message))?.[1];
  return remedy === undefined ? message : `${message}; ${remedy}`;
}
