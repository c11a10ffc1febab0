import type { IncarnationRecord } from '../journal/host-record';

/** Who wants something of a suspended microVM. */
export type Knock =
  | {
      protocol: 'tcp' | 'udp';
      /** Of the host. */
      port: number;
      /** Who knocks. */
      address: string;
    }
  | {
      /** A program of the host. */
      protocol: 'vsock';
      /** Of the guest. */
      port: number;
    };

/** Told of everybody who comes. True: somebody may wake it, and what came may wait for that. */
export type Knocked = (knock: Knock) => boolean;

/** Stands where a microVM was reached by connections, while it is suspended. */
export interface Door {
  /** Connections that wait. */
  readonly held: number;
  /** It runs: what waits goes to its guest, and what comes from now on finds it without this. */
  deliver(to: Readonly<IncarnationRecord>): void;
  /** Turns away who waits. */
  dismiss(): void;
  /** Turns away who waits, and is gone. */
  close(): void;
}
