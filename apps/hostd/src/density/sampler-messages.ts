import type { HostReading, SampleTarget } from '#density';
import type { MicrovmSample } from '#protocol';

export interface SamplerSettings {
  intervalMs: number;
  budgetMs: number;
}

/** Agent -> sampler thread. */
export type SamplerOrder =
  { type: 'track'; target: SampleTarget } | { type: 'forget'; id: string } | { type: 'round'; number: number };

/** Sampler thread -> agent: one round. */
export interface SamplerRound {
  number: number;
  /** Measured in this round. */
  samples: MicrovmSample[];
  /** The latest of everything. */
  latest: MicrovmSample[];
  host: HostReading;
  cpuMs: number;
}
