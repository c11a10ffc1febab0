import { readFileSync } from 'node:fs';
import { parseMeminfo, parsePressure } from '#density';
import type { GuardReading } from '#scheduling';
import type { Cgroups } from '../cgroups/cgroups';

const MIB = 1024 * 1024;

/** Reads the host as its guards see it: a few small files, for a few times a second. */
export class HostGauges {
  constructor(
    private readonly cgroups: Pick<Cgroups, 'memory'>,
    private readonly proc = '/proc',
  ) {}

  read(): Omit<GuardReading, 'vcpuWait'> {
    return {
      ...this.#memory(),
      cpuPressure: this.#pressure('cpu')?.some ?? null,
      memoryPressure: this.#pressure('memory')?.full ?? null,
    };
  }

  /** Of the host or of what microVMs may take of it, whichever has less left. */
  #memory(): Pick<GuardReading, 'availableMemory' | 'availableMiB' | 'usableMiB'> {
    const { totalKiB, availableKiB } = parseMeminfo(readFileSync(`${this.proc}/meminfo`, 'latin1'));
    const host = shareOf(availableKiB / 1_024, totalKiB / 1_024);
    const bound = this.cgroups.memory();
    if (!bound) return host;
    const ours = shareOf(bound.availableBytes / MIB, bound.limitBytes / MIB);
    return ours.availableMemory < host.availableMemory ? ours : host;
  }

  #pressure(resource: string): ReturnType<typeof parsePressure> {
    try {
      return parsePressure(readFileSync(`${this.proc}/pressure/${resource}`, 'latin1'));
    } catch {
      return null; // a kernel without PSI
    }
  }
}

function shareOf(availableMiB: number, usableMiB: number) {
  return { availableMiB, usableMiB, availableMemory: usableMiB > 0 ? (100 * availableMiB) / usableMiB : 0 };
}
