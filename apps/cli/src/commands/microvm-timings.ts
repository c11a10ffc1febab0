import type { Microvm } from '#protocol';

type Timings = Microvm['timings'];

export interface Phase {
  name: string;
  /** For people. */
  meaning: string;
  from: keyof Timings;
  to: keyof Timings;
}

/** The way of a start, step by step. Instants of the controller and of the host are on their own clocks. */
export const START_PHASES: readonly Phase[] = [
  { name: 'queued', meaning: 'request taken, durable in its history', from: 'requestedAt', to: 'acceptedAt' },
  { name: 'placed', meaning: 'host chosen', from: 'acceptedAt', to: 'placedAt' },
  { name: 'received', meaning: 'order at the host', from: 'placedAt', to: 'receivedAt' },
  { name: 'admitted', meaning: 'slot, memory and CPUs granted, journalled', from: 'receivedAt', to: 'admittedAt' },
  { name: 'launched', meaning: 'VMM process made', from: 'admittedAt', to: 'launchedAt' },
  { name: 'vmmExecuted', meaning: 'VMM in main()', from: 'launchedAt', to: 'vmmEnteredAt' },
  { name: 'guestRun', meaning: 'KVM set up, first guest instruction', from: 'vmmEnteredAt', to: 'guestRunAt' },
  { name: 'guestRunning', meaning: 'guest says that it has booted', from: 'guestRunAt', to: 'guestBootedAt' },
  { name: 'recorded', meaning: 'running, durable in its history', from: 'guestBootedAt', to: 'runningAt' },
];

/** Spans that people ask for, over several phases. */
export const START_SPANS: readonly Phase[] = [
  { name: 'admissionToGuest', meaning: 'from admission to guest code', from: 'admittedAt', to: 'guestBootedAt' },
  { name: 'wholePath', meaning: 'from the request to running on record', from: 'requestedAt', to: 'runningAt' },
];

/** ms; undefined when one of the two was not reached. */
export function spent(timings: Timings, { from, to }: Phase): number | undefined {
  const [begin, end] = [timings[from], timings[to]];
  return begin === undefined || end === undefined ? undefined : end - begin;
}
