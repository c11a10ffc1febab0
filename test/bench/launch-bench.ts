// What starting a canary through the KVM binding costs, hostd left out:
//   node --conditions=jest -r ./test/support/ts-register.cjs test/bench/launch-bench.ts [count] [concurrency] [already live] [threads]
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createMicrovmDriver, type MicrovmProcess } from '#microvm';
import { artefacts, kvmMissing, makeTmpfsDirectory } from '../support/kvm';

const [count = 300, concurrency = 1, live = 0, launchThreads = 4] = process.argv.slice(2).map(Number);

interface Sample {
  /** launch() called -> its synchronous part returned: the time it blocks the JavaScript thread. */
  blocked: number;
  /** -> launch() resolved: the process has exec'ed and JavaScript knows it. */
  exists: number;
  /** -> the agent is about to clone: waiting for a launcher thread, opening and making files. */
  cloning: number;
  /** -> main() of the VMM. */
  entered: number;
  /** -> the guest wrote its boot timer, by the VMM's clock. */
  guest: number;
  /** -> `booted` resolved. */
  booted: number;
  /** The whole of launch, boot and kill with the end reported. */
  ended: number;
}

function line(name: keyof Sample, samples: Sample[]): void {
  const sorted = samples.map((sample) => sample[name]).sort((a, b) => a - b);
  const at = (q: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN).toFixed(3);
  console.log(`  ${name.padEnd(8)} p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   max ${at(1)} ms`);
}

/** Milliseconds on a core, not counting waits for one: the JavaScript thread is the process's first. */
const onCoreMs = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;

async function main(): Promise<void> {
  const missing = kvmMissing();
  if (missing !== undefined) {
    console.error(`SKIPPED: ${missing}`);
    return;
  }
  const scratch = makeTmpfsDirectory('volley-bench-');
  const driver = createMicrovmDriver({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding, launchThreads });
  let number = 0;

  const start = async (keep: boolean): Promise<[Sample, MicrovmProcess]> => {
    const id = `bench-${number++}`;
    const directory = join(scratch.path, id);
    mkdirSync(directory);
    const called = process.hrtime.bigint();
    const since = (ns: bigint) => Number(ns - called) / 1e6;
    const launching = driver.launch({
      id,
      directory,
      kernelPath: artefacts.canary,
      bootProtocol: 'flat',
      irqchip: 'split',
      vcpus: 1,
      memoryMiB: 32,
      cmdline: 'quiet',
    });
    const blocked = since(process.hrtime.bigint());
    const vm = await launching;
    const exists = since(process.hrtime.bigint());
    const bootedNs = await vm.booted;
    const booted = since(process.hrtime.bigint());
    const stats = vm.stats();
    if (!keep) {
      vm.kill();
      await vm.exited;
      vm.release();
    }
    const times = { cloning: since(stats.launchedNs), entered: since(stats.enteredNs), guest: since(bootedNs) };
    return [{ blocked, exists, ...times, booted, ended: since(process.hrtime.bigint()) }, vm];
  };

  const run = async (total: number, width: number, keep: boolean) => {
    const results: [Sample, MicrovmProcess][] = [];
    let begun = 0;
    const worker = async () => {
      while (begun++ < total) results.push(await start(keep));
    };
    await Promise.all(Array.from({ length: width }, worker));
    return results;
  };

  await run(20, concurrency, false); // warm
  const resident = await run(live, Math.max(concurrency, 4), true);

  const onCore = onCoreMs();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const samples = (await run(count, concurrency, false)).map(([sample]) => sample);
  const took = performance.now() - began;
  const spent = process.cpuUsage(cpu);
  const javascript = ((onCoreMs() - onCore) / count) * 1000;
  console.log(`${count} launches, ${concurrency} at a time, ${live} microVMs live, ${launchThreads} launcher threads`);
  for (const name of ['blocked', 'cloning', 'entered', 'exists', 'guest', 'booted', 'ended'] as const)
    line(name, samples);
  console.log(`  ${((count / took) * 1000).toFixed(0)} launched, booted, killed and reaped per second`);
  console.log(`  CPU time of the JavaScript thread, this program included: ${javascript.toFixed(0)} us per life`);
  const cpuUs = (spent.user + spent.system) / count;
  console.log(`  CPU time of the agent, all its threads: ${cpuUs.toFixed(0)} us per life`);

  const clearing = performance.now();
  for (const [, vm] of resident) vm.kill();
  await Promise.all(resident.map(([, vm]) => vm.exited));
  if (live > 0) console.log(`  ${live} killed at once and reaped in ${(performance.now() - clearing).toFixed(0)} ms`);
  driver.close();
  scratch.remove();
}

void main();
