import type { MicrovmStats, VmmState } from './microvm-stats';
import type { NativeBinding, NativeEngine } from './native-binding';

const TIME_FIELDS = [
  'launchedNs',
  'enteredNs',
  'vmCreatedNs',
  'memoryNs',
  'loadedNs',
  'vcpusNs',
  'runNs',
  'bootedNs',
  'exitedNs',
  'guestMemoryAddress',
];
const NUMBER_FIELDS = [
  'state',
  'exitsTotal',
  'exitsPio',
  'exitsMmio',
  'exitsHlt',
  'exitsSignal',
  'serialBytes',
  'unknownIo',
  'guestMemoryBytes',
];
const STATES: (VmmState | undefined)[] = [undefined, 'starting', 'running', 'paused', 'exited'];
const MAX_VCPUS = 32;

/** Throws when the addon was built from other sources than this library: it would fill in the wrong fields. */
export function checkBindingFields(binding: NativeBinding): void {
  const fits = (theirs: string[], ours: string[]) => theirs.join() === ours.join();
  if (!fits(binding.timeFields, TIME_FIELDS) || !fits(binding.numberFields, NUMBER_FIELDS)) {
    throw new Error('the KVM binding was built from another version of Volley: run `npm run build:native`');
  }
}

/** Reads statistics pages through two arrays that are filled anew for each: a fleet is sampled every second. */
export class StatsReader {
  readonly #times = new BigUint64Array(TIME_FIELDS.length);
  readonly #numbers = new Float64Array(NUMBER_FIELDS.length + MAX_VCPUS);

  constructor(private readonly engine: NativeEngine) {}

  /** Throws what the engine throws when the page cannot be read. */
  read(handle: number, pid: number): MicrovmStats {
    const vcpus = this.engine.readStats(handle, this.#times, this.#numbers);
    const time = (index: number) => this.#times[index] ?? 0n;
    const number = (index: number) => this.#numbers[index] ?? 0;
    return {
      state: STATES[number(0)] ?? 'starting',
      pid,
      launchedNs: time(0),
      enteredNs: time(1),
      vmCreatedNs: time(2),
      memoryNs: time(3),
      loadedNs: time(4),
      vcpusNs: time(5),
      runNs: time(6),
      bootedNs: time(7),
      exitedNs: time(8),
      guestMemoryAddress: time(9),
      exitsTotal: number(1),
      exitsPio: number(2),
      exitsMmio: number(3),
      exitsHlt: number(4),
      exitsSignal: number(5),
      serialBytes: number(6),
      unknownIo: number(7),
      guestMemoryBytes: number(8),
      vcpuTids: Array.from(this.#numbers.subarray(NUMBER_FIELDS.length, NUMBER_FIELDS.length + vcpus)),
    };
  }
}
