import fc from 'fast-check';
import type { HostCommand } from '../microvms/command-rules';
import { order, restore, snapshot, start, stop, type PlainOrder } from './host-commands';
import { idOf } from './microvm-ids';

const MICROVMS = 4;

/** What happens to a host before it crashes: a command, by its type or as how it is meant, or a kill from outside. */
export interface CrashStep {
  /** Of which microVM. */
  n: number;
  epoch: number;
  type: 'start' | PlainOrder | 'restore' | 'snapshot' | 'stop' | 'kill' | 'outside';
  /** Of the command line of what is started. */
  words: string;
  /** Turns of the event loop until the next step. */
  wait: number;
}

/** Starts are as likely as two others, or most orders would find nothing. */
export const anyCrashStep: fc.Arbitrary<CrashStep> = fc.record({
  n: fc.nat(MICROVMS - 1),
  epoch: fc.integer({ min: 1, max: 2 }),
  type: fc.constantFrom(
    'start',
    'start',
    'pause',
    'resume',
    'suspend',
    'restore',
    'snapshot',
    'stop',
    'kill',
    'erase',
    'verify',
    'outside',
  ),
  words: fc.constantFrom('', 'exit', 'no-launch', 'deaf', 'no-pause', 'no-boot'),
  wait: fc.nat(6),
});

/** Of one microVM, with so much time in between that each is done before the next. */
export const stepsOfOne = (...orders: [type: CrashStep['type'], epoch: number][]): CrashStep[] =>
  orders.map(([type, epoch]) => ({ n: 0, epoch, type, words: '', wait: 40 }));

/** Undefined: nobody commands what comes from outside. */
export function commandOf({ n, epoch, type, words }: CrashStep): HostCommand | undefined {
  const id = idOf(n + 1);
  switch (type) {
    case 'start':
      return start(id, epoch, words);
    case 'stop':
      return stop(id, 20, epoch);
    case 'kill':
      return stop(id, 0, epoch);
    case 'restore':
      return restore(id, epoch + 1);
    case 'snapshot':
      return snapshot(id, idOf(90 + n), epoch);
    case 'outside':
      return undefined;
    default:
      return order(type, id, epoch);
  }
}
