import { join } from 'node:path';
import { campaign } from '#chaos';
import { describeWithAnyVmm } from '../support/vmm-here';

jest.setTimeout(900_000);

/** Set VOLLEY_CHAOS_SEED to run a failing seed again; choices, not the machine's timing, repeat. */
const SEED = Number(process.env['VOLLEY_CHAOS_SEED'] ?? Date.now() % 1_000_000);
/** `./volley chaos --runs N` does more of them. */
const RUNS = Number(process.env['VOLLEY_CHAOS_RUNS'] ?? 6);

describeWithAnyVmm('seeded faults', (vmm) => {
  it(`leave nothing lost, doubled or left over in ${RUNS} runs from seed ${SEED}`, async () => {
    const root = join(__dirname, '../..');
    let runs = 0;
    for await (const run of campaign({ root, runs: RUNS, seed: SEED, up: ['--vmm', vmm, '--controllers', '2'] })) {
      const { seed, faults, violations, kept } = run;
      process.stdout.write(`chaos: seed ${seed}: ${faults.join('; ')}${kept === undefined ? '' : `; see ${kept}`}\n`);
      expect(violations).toEqual([]);
      runs++;
    }
    expect(runs).toBe(RUNS);
  });
});
