import { z } from 'zod';
import { Exit, GuestNetwork, Instant, MicrovmStateName } from './microvm-events';
import { IdleStop, MicrovmClass, MicrovmSpec, Schedule } from './microvm-spec';
import { TuningRecord } from './tuning';

/** When each step of the latest start was reached, from the caller's request to the record of `running`. Later steps are missing until reached. */
export const MicrovmTimings = z.strictObject({
  requestedAt: Instant,
  acceptedAt: Instant,
  placedAt: Instant.optional(),
  receivedAt: Instant.optional(),
  admittedAt: Instant.optional(),
  launchedAt: Instant.optional(),
  vmmEnteredAt: Instant.optional(),
  guestRunAt: Instant.optional(),
  guestBootedAt: Instant.optional(),
  runningAt: Instant.optional(),
});
export type MicrovmTimings = z.infer<typeof MicrovmTimings>;

/** A microVM as every reader sees it. */
export const Microvm = z.strictObject({
  id: z.string(),
  name: z.string().nullable(),
  image: z.string(),
  /** The template that it is a clone of. */
  template: z.string().optional(),
  tenant: z.string(),
  class: MicrovmClass,
  state: MicrovmStateName,
  /** Why it is in this state, when that needs saying. */
  reason: z.string().nullable(),
  hostId: z.string().nullable(),
  /** Number of the placement; 0 before the first. */
  epoch: z.int(),
  pid: z.int().nullable(),
  /** Of the running incarnation, if it has a network device. */
  network: GuestNetwork.nullable(),
  exit: Exit.optional(),
  /** What was changed of this incarnation and still holds: the latest change of each thing. */
  tuned: z.array(TuningRecord),
  timings: MicrovmTimings,
  vcpus: z.int(),
  memoryMiB: z.int(),
  cmdline: z.string(),
  labels: z.record(z.string(), z.string()),
  restartPolicy: MicrovmSpec.shape.restartPolicy.unwrap(),
  onHostLoss: MicrovmSpec.shape.onHostLoss.unwrap(),
  ttlSeconds: z.int().nullable(),
  deleteProtection: z.boolean(),
  maxRestarts: z.int().optional(),
  stopTimeoutSeconds: z.int().optional(),
  idleStop: IdleStop.optional(),
  schedule: Schedule.optional(),
  /** Starts by the restart policy in a row. */
  restarts: z.int(),
  /** ISO 8601. */
  createdAt: z.string(),
  updatedAt: z.string(),
  /** Sequence of the last record of its history: grows with every change. */
  revision: z.int(),
});
export type Microvm = z.infer<typeof Microvm>;

/** One step of a history as readers see it. */
export const HistoryEntry = z.strictObject({
  sequence: z.int(),
  at: z.string(),
  commandId: z.string(),
  cause: z.strictObject({ kind: z.string(), by: z.string() }),
  from: MicrovmStateName.nullable(),
  to: MicrovmStateName,
  /** ms since the entry before, null for the first. */
  latencyMs: z.number().nullable(),
  events: z.array(z.looseObject({ type: z.string() })),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;
