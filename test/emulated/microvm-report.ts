/** What `volley-run` prints when its VMM has ended. Times are microseconds after the launch, 0 = has not happened. */
export interface MicrovmReport {
  readonly exit: string;
  readonly message: string;
  /** The VMM's own exit status; -1 when a signal ended it. */
  readonly status: number;
  readonly bootedUs: number;
  readonly exitedUs: number;
  readonly exits: number;
  /** What the guest wrote of its workload's end (VOLLEY_REPORT_*), 0 = nothing. */
  readonly guestReport: number;
  /** What its devices did, in the order of the configuration. */
  readonly devices: readonly DeviceReport[];
}

/** Counters of one device (`struct volley_device_stats`). */
export interface DeviceReport {
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly flushes: number;
  readonly errors: number;
  readonly throttled: number;
  readonly interrupts: number;
}

/** One microVM's part of a host's console. */
export interface MicrovmRun {
  /** What the guest printed on its serial console, and whatever else appeared meanwhile. */
  readonly console: string;
  readonly report: MicrovmReport;
}

const ONCE_MORE = 'did not end in time; once more';
/** Of `volley-run`, when it has killed its VMM for that. */
const TIMED_OUT = 124;

/**
 * A line of shell that runs a microVM so that {@link microvmRun} finds it by its name. One that does not end in its time runs once more: on a
 * starved machine an emulator in an emulator was seen to lose a wakeup of a processor, for good. See {@link lateMicrovms}.
 */
export function runMicrovm(name: string, argv: readonly string[]): string {
  const run = `volley-run --vmm /bin/volley-vmm ${argv.map((word) => `'${word}'`).join(' ')}`;
  const again = `if [ $? = ${TIMED_OUT} ]; then echo "microvm: ${name} ${ONCE_MORE}"; ${run}; fi`;
  return `echo "microvm: ${name} starts"; ${run}; ${again}; echo "microvm: ${name} is over"`;
}

/** Names of those that ran once more. */
export const lateMicrovms = (hostConsole: string): string[] =>
  [...hostConsole.matchAll(new RegExp(`microvm: (\\S+) ${ONCE_MORE}`, 'g'))].map(([, name]) => name!);

/**
 * Cuts one microVM's part out of a host's console.
 *
 * Throws when it is not there, or holds no report.
 */
export function microvmRun(hostConsole: string, name: string): MicrovmRun {
  const [, after] = hostConsole.split(`microvm: ${name} starts`);
  const [whole] = (after ?? '').split(`microvm: ${name} is over`);
  const console = whole?.split(`microvm: ${name} ${ONCE_MORE}`).at(-1);
  const report = /^volley-run (\{.*\})\r?$/m.exec(console ?? '')?.[1];
  if (console === undefined || report === undefined) throw new Error(`${name} left no report:\n${hostConsole}`);
  return { console, report: JSON.parse(report) as MicrovmReport };
}
