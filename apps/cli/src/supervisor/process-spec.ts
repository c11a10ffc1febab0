/** One process that a supervisor keeps alive. */
export interface ProcessSpec {
  /** Also the name of its log file. */
  name: string;
  command: string;
  args: string[];
  env: Record<string, string>;
  /** Resolves when those that start after it may start; rejects when the signal aborts. Absent: at once. */
  ready?: (signal: AbortSignal) => Promise<void>;
  /** How long it may take from SIGTERM to its end before it is killed, in ms. */
  stopDeadlineMs: number;
}
