import { performance } from 'node:perf_hooks';
import { SeededRandom } from '#chaos';
import { AzureTrace, Endings, Replay, traceHosts } from '#whatif';

/** How many things a second happen in a replay: `... whatif-bench.ts [claims] [hosts]`. Prints JSON. */
const [claims = 300_000, hosts = 20] = process.argv.slice(2).map(Number);

const random = new SeededRandom(1);
const exponential = (mean: number): number => -mean * Math.log(1 - random.next());
const trace = new AzureTrace();
let created = 0;
for (let n = 0; n < claims; n++) {
  created += exponential(80_000 / claims);
  const times = `${created.toFixed(3)},${(created + exponential(600)).toFixed(3)}`;
  const size = 2 ** random.int(0, 4);
  trace.takeVm(`vm-${n},tenant-${random.int(0, 50)},none,${times},0,0,0,none,${size},${size}`);
}
const { claims: asked, end } = trace.claims();
// Room for nine tenths of what comes on average.
const cpus = Math.ceil((0.9 * (claims / 80_000) * 600 * 3.75) / hosts);
const load = { from: 0, to: end, claims: asked, hosts: traceHosts(hosts, { cpus, memoryMiB: cpus * 1_024 }) };
const began = performance.now();
const replay = new Replay(load, {
  ...{ seed: 1, reportIntervalMs: 1_000, endings: new Endings(asked) },
  capacityOf: ({ slots, cpus, memoryMiB, reserveMiB, overcommit }) => ({
    slots,
    cpus,
    memoryMiB,
    reserveMiB,
    overcommit,
  }),
});
const { all } = replay.run();
const seconds = (performance.now() - began) / 1_000;
process.stdout.write(
  `${JSON.stringify({ claims, hosts, ...all, events: replay.events, seconds, eventsPerSecond: Math.round(replay.events / seconds) })}\n`,
);
