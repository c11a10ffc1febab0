import { parentPort, workerData } from 'node:worker_threads';
import { BlockingProcReader, CpuWatch, MicrovmSampler, readHost, SamplingCost } from '#density';
import type { SamplerOrder, SamplerRound, SamplerSettings } from './sampler-messages';

/** Between two looks at every process of the host. */
const CPU_WINDOW_MS = 10_000;

// A thread of its own: reading the page tables of a large guest blocks for tens of milliseconds, in which commands would wait.
const { group, ...settings } = workerData as SamplerSettings;
const proc = new BlockingProcReader();
/** Of all threads, so that it goes on when this one is started again. */
const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
const sampler = new MicrovmSampler(proc, { ...settings, nowMs });
const cpuWatch = new CpuWatch(proc, process.pid, CPU_WINDOW_MS);
const cost = new SamplingCost(proc);

parentPort!.on('message', ({ number, track, forget }: SamplerOrder) => {
  cost.begin();
  for (const id of forget) sampler.forget(id);
  for (const target of track) sampler.track(target);
  const readings = sampler.round();
  const host = readHost(proc, group);
  const atMs = nowMs();
  const cpuTime = sampler.cpuTime();
  const cpu = cpuWatch.read(atMs, () => sampler.pids());
  const round: SamplerRound = { number, atMs, readings, host, cpuTime, cpu, samplingCpuMs: cost.end() };
  parentPort!.postMessage(round);
});
