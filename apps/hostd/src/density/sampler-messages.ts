import type { HostReading, SampleTarget } from '#density';
import type { MicrovmSample } from '#protocol';

export interface SamplerSettings {
  intervalMs: number;
  budgetMs: number;
}

/** Agent -> sampler thread: run one round, with these changes since the round before. */
export interface SamplerOrder {
  number: number;
  track: SampleTarget[];
  forget: string[];
}

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
