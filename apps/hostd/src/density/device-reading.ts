import { addWork, noWork, type DeviceReading } from '#density';
import type { MicrovmStats } from '#microvm';
import type { MicrovmSpec } from '#protocol';
import { deviceNames } from '../microvms/tuner';

/** What a statistics page tells of the devices of this spec. */
export function deviceReadingOf(spec: MicrovmSpec, { devices, balloon }: MicrovmStats): DeviceReading {
  const reading: DeviceReading = {
    disk: noWork(),
    network: noWork(),
    balloonedKiB: (balloon?.actualBytes ?? 0) / 1024,
  };
  for (const [index, name] of deviceNames(spec).entries()) {
    const stats = devices[index];
    if (stats) addWork(name === 'network' ? reading.network : reading.disk, stats);
  }
  return reading;
}
