import { parentPort, workerData } from 'node:worker_threads';
import { BlockingProcReader, MicrovmSampler, readHost, SamplingCost } from '#density';
import type { SamplerOrder, SamplerRound, SamplerSettings } from './sampler-messages';

// A thread of its own: reading the page tables of a large guest blocks for tens of milliseconds, in which commands would wait.
const proc = new BlockingProcReader();
const sampler = new MicrovmSampler(proc, { ...(workerData as SamplerSettings), nowMs: () => performance.now() });
const cost = new SamplingCost(proc);

parentPort!.on('message', (order: SamplerOrder) => {
  cost.begin();
  for (const id of order.forget) sampler.forget(id);
  for (const target of order.track) sampler.track(target);
  const samples = sampler.round();
  const host = readHost(proc);
  const round: SamplerRound = { number: order.number, samples, latest: sampler.latest(), host, cpuMs: cost.end() };
  parentPort!.postMessage(round);
});
