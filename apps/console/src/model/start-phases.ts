import type { Microvm } from '#protocol';

type Timings = Microvm['timings'];

/** One phase of a start: who worked on it, from when, for how long. */
export interface StartPhase {
  /** The timing that ends it. */
  until: keyof Timings;
  label: string;
  explains: string;
  /** Where on the axis it begins, ms after the request. */
  fromMs: number;
  /** ms; null: not reached yet. Negative: the clocks of two machines disagree by more than the phase took. */
  tookMs: number | null;
}

const STEPS: readonly { until: keyof Timings; label: string; explains: string }[] = [
  { until: 'acceptedAt', label: 'recorded', explains: 'The gateway got the request; the controller made it durable.' },
  { until: 'placedAt', label: 'placed', explains: 'The placement chose a host and stored the receipt.' },
  {
    until: 'receivedAt',
    label: 'sent to host',
    explains: 'The decision was recorded and the order reached the host agent.',
  },
  {
    until: 'admittedAt',
    label: 'admitted',
    explains: 'The host granted slot, memory and vCPUs and wrote its journal.',
  },
  { until: 'launchedAt', label: 'process made', explains: 'The host agent made the VMM process.' },
  { until: 'vmmEnteredAt', label: 'VMM entered', explains: 'The kernel executed the VMM up to its main function.' },
  { until: 'guestRunAt', label: 'machine made', explains: 'The VMM made the machine up to its first KVM_RUN.' },
  { until: 'guestBootedAt', label: 'guest booted', explains: 'Guest code ran until it signalled that it has booted.' },
  {
    until: 'runningAt',
    label: 'running recorded',
    explains: 'The fact travelled back and the controller made it durable.',
  },
];

/** The phases of the latest start in order. Steps that were skipped (an adopted start) are left out when a later one is known. */
export function startPhases(timings: Timings): StartPhase[] {
  const origin = timings.requestedAt;
  const lastReached = STEPS.findLastIndex(({ until }) => timings[until] !== undefined);
  const phases: StartPhase[] = [];
  let before = origin;
  STEPS.forEach((step, index) => {
    const at = timings[step.until];
    if (at === undefined) {
      if (index > lastReached) phases.push({ ...step, fromMs: before - origin, tookMs: null });
      return;
    }
    phases.push({ ...step, fromMs: before - origin, tookMs: at - before });
    before = at;
  });
  return phases;
}

/** From the caller's request to the record of `running`, ms; null while it has not run. */
export function startLatency(timings: Timings): number | null {
  return timings.runningAt === undefined ? null : timings.runningAt - timings.requestedAt;
}
