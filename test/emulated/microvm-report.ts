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

/** A line of shell that runs a microVM so that {@link microvmRun} finds it by its name. */
export function runMicrovm(name: string, argv: readonly string[]): string {
  const run = `volley-run --vmm /bin/volley-vmm ${argv.map((word) => `'${word}'`).join(' ')}`;
  return `echo "microvm: ${name} starts"; ${run}; echo "microvm: ${name} is over"`;
}

/**
 * Cuts one microVM's part out of a host's console.
 *
 * Throws when it is not there, or holds no report.
 */
export function microvmRun(hostConsole: string, name: string): MicrovmRun {
  const [, after] = hostConsole.split(`microvm: ${name} starts`);
  const [console] = (after ?? '').split(`microvm: ${name} is over`);
  const report = /^volley-run (\{.*\})\r?$/m.exec(console ?? '')?.[1];
  if (console === undefined || report === undefined) throw new Error(`${name} left no report:\n${hostConsole}`);
  return { console, report: JSON.parse(report) as MicrovmReport };
}
