import { MAX_DEVICES } from './device-spec';
import type { DeviceStats, MicrovmStats, VmmState } from './microvm-stats';
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
  'balloonUpdatedNs',
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
  'serialDropped',
  'barriers',
  'guestReported',
  'guestReport',
  'balloonTarget',
  'balloonActual',
  'balloonFree',
  'balloonTotal',
  'balloonAvailable',
  'vcpus',
  'devices',
  'hasBalloon',
];
const DEVICE_FIELDS = ['reads', 'writes', 'readBytes', 'writeBytes', 'flushes', 'errors', 'throttled', 'interrupts'];
const STATES: (VmmState | undefined)[] = [undefined, 'starting', 'running', 'paused', 'exited'];
const MAX_VCPUS = 32;
/** Where in the numbers the thread ids begin, and the counters of devices. */
const FIRST_TID = NUMBER_FIELDS.length;
const FIRST_DEVICE = FIRST_TID + MAX_VCPUS;

/** Throws when the addon was built from other sources than this library: it would fill in the wrong fields. */
export function checkBindingFields(binding: NativeBinding): void {
  const fits = (theirs: string[], ours: string[]) => theirs.join() === ours.join();
  const sameFields =
    fits(binding.timeFields, TIME_FIELDS) &&
    fits(binding.numberFields, NUMBER_FIELDS) &&
    fits(binding.deviceFields ?? [], DEVICE_FIELDS);
  if (!sameFields) {
    throw new Error('the KVM binding was built from another version of Volley: run `npm run build:native`');
  }
}

/** Reads statistics pages through two arrays that are filled anew for each: a fleet is sampled every second. */
export class StatsReader {
  readonly #times = new BigUint64Array(TIME_FIELDS.length);
  readonly #numbers = new Float64Array(FIRST_DEVICE + MAX_DEVICES * DEVICE_FIELDS.length);

  constructor(private readonly engine: NativeEngine) {}

  /** Throws what the engine throws when the page cannot be read. */
  read(handle: number, pid: number): MicrovmStats {
    this.engine.readStats(handle, this.#times, this.#numbers);
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
      serialDropped: number(9),
      barriers: number(10),
      ...(number(11) === 0 ? {} : { guestReport: number(12) }),
      devices: Array.from({ length: number(19) }, (_, index) =>
        this.#device(FIRST_DEVICE + index * DEVICE_FIELDS.length),
      ),
      ...(number(20) === 0
        ? {}
        : {
            balloon: {
              targetBytes: number(13),
              actualBytes: number(14),
              updatedNs: time(10),
              freeBytes: number(15),
              totalBytes: number(16),
              availableBytes: number(17),
            },
          }),
      vcpuTids: Array.from(this.#numbers.subarray(FIRST_TID, FIRST_TID + number(18))),
    };
  }

  #device(at: number): DeviceStats {
    const number = (index: number) => this.#numbers[at + index] ?? 0;
    return {
      reads: number(0),
      writes: number(1),
      readBytes: number(2),
      writeBytes: number(3),
      flushes: number(4),
      errors: number(5),
      throttled: number(6),
      interrupts: number(7),
    };
  }
}
