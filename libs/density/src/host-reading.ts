import type { DensityReport } from '#protocol';
import { readCharged, type ChargedMemory, type ControlGroup } from './control-group';
import { parseMeminfo, type HostMemory } from './meminfo';
import { parsePressure } from './proc-files';
import type { ProcReader } from './proc-reader';

/** What the host itself tells, at one moment. */
export interface HostReading {
  memory: HostMemory;
  pressure: DensityReport['pressure'];
  /** Charged to the cgroup of all microVMs; undefined where none counts. */
  charged?: ChargedMemory;
}

/** Reads the host's totals; pressure is null where the kernel has no PSI. `group`: of all microVMs. */
export function readHost(proc: ProcReader, group: ControlGroup = {}): HostReading {
  const pressureOf = (resource: string) => {
    const text = proc.read(`/proc/pressure/${resource}`);
    return text === undefined ? null : parsePressure(text);
  };
  const memory = pressureOf('memory');
  const charged = readCharged(proc, group);
  return {
    memory: parseMeminfo(proc.read('/proc/meminfo') ?? ''),
    pressure: {
      cpuSome: pressureOf('cpu')?.some ?? null,
      memorySome: memory?.some ?? null,
      memoryFull: memory?.full ?? null,
      ioSome: pressureOf('io')?.some ?? null,
    },
    ...(charged ? { charged } : {}),
  };
}
