import type { ControlGroup, MeasuredRound, SampleTarget } from '#density';

export interface SamplerSettings {
  intervalMs: number;
  budgetMs: number;
  /** Of all microVMs. */
  group: ControlGroup;
}

/** Agent -> sampler thread: run one round, with these changes since the round before. */
export interface SamplerOrder {
  number: number;
  track: SampleTarget[];
  forget: string[];
}

/** Sampler thread -> agent: one round. */
export interface SamplerRound extends MeasuredRound {
  number: number;
}
