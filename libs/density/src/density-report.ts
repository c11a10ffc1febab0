import type { DensityReport, MicrovmSample } from '#protocol';
import { headroomOf, overcommitRatio, type Capacity, type Commitment } from '#scheduling';
import { percentile } from './formulas';
import { parseMeminfo, parsePressure, type HostMemory } from './proc-files';
import type { ProcReader } from './proc-reader';

/** What the host itself tells: memory and pressure. */
export interface HostReading {
  memory: HostMemory;
  pressure: DensityReport['pressure'];
}

/** Reads memory and pressure of the host; pressure is null where the kernel has no PSI. */
export function readHost(proc: ProcReader): HostReading {
  const pressureOf = (resource: string) => {
    const text = proc.read(`/proc/pressure/${resource}`);
    return text === undefined ? null : parsePressure(text);
  };
  const memory = pressureOf('memory');
  return {
    memory: parseMeminfo(proc.read('/proc/meminfo') ?? ''),
    pressure: {
      cpuSome: pressureOf('cpu')?.some ?? null,
      memorySome: memory?.some ?? null,
      memoryFull: memory?.full ?? null,
      ioSome: pressureOf('io')?.some ?? null,
    },
  };
}

/** All that one report is made of. */
export interface DensityInputs {
  hostId: string;
  /** Wall clock, ms. */
  at: number;
  capacity: Capacity;
  /** Of everything admitted, in flight included. */
  commitment: Commitment;
  /** Slots in use. */
  admitted: number;
  /** microVMs whose VMM runs. */
  microvms: number;
  /** The latest sample of each running microVM; one not measured yet is missing. */
  samples: readonly MicrovmSample[];
  host: HostReading;
  samplingCpuMs: number;
}

/** Puts one report together; every formula is explained in docs/density.md. */
export function densityReportOf(inputs: DensityInputs): DensityReport {
  const { capacity, commitment, samples, host } = inputs;
  const sum = (pick: (sample: MicrovmSample) => number): number =>
    samples.reduce((total, sample) => total + pick(sample), 0);
  const waits = samples.map((sample) => sample.vcpuWaitPercent);
  return {
    hostId: inputs.hostId,
    at: inputs.at,
    microvms: inputs.microvms,
    slots: { total: capacity.slots, used: inputs.admitted },
    capacity: { cpus: capacity.cpus, memoryMiB: capacity.memoryMiB, reserveMiB: capacity.reserveMiB },
    commitment,
    used: {
      cpuCores: sum((sample) => sample.cpuCores),
      memoryMiB: sum((sample) => sample.proportionalKiB) / 1024,
      privateMiB: sum((sample) => sample.privateKiB) / 1024,
      overheadMiB: sum((sample) => sample.overheadKiB) / 1024,
      hostMemoryMiB: (host.memory.totalKiB - host.memory.availableKiB) / 1024,
    },
    overcommit: {
      cpu: overcommitRatio(commitment.vcpus, capacity.cpus),
      memory: overcommitRatio(commitment.memoryMiB, capacity.memoryMiB, capacity.reserveMiB),
      cpuLimit: capacity.overcommit.cpu,
      memoryLimit: capacity.overcommit.memory,
    },
    headroom: headroomOf(capacity, commitment, inputs.admitted),
    vcpuWaitPercent: { p50: percentile(waits, 50), p99: percentile(waits, 99) },
    pressure: host.pressure,
    samplingCpuMs: inputs.samplingCpuMs,
  };
}
