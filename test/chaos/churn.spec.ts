import { ALIVE, checkHistories, checkHosts, readHistories, RESTING, SeededRandom } from '#chaos';
import { MICROVM_STREAM, type Microvm } from '#protocol';
import { Fleet, until, type ProcessName } from '../support/fleet';
import { describeWithKvm } from '../support/kvm';
import { natsServerMissing } from '../support/nats-server';

jest.setTimeout(300_000);

/** Set VOLLEY_CHAOS_SEED to run a failing seed again; choices, not the machine's timing, repeat. */
const SEED = Number(process.env['VOLLEY_CHAOS_SEED'] ?? Date.now() % 1_000_000);
const MICROVMS = 100;
const FAULTS = 16;
const SETTLE_MS = 45_000;

type Fault = ProcessName | 'vmm';
const FAULT_KINDS: readonly Fault[] = [
  'volley-hostd',
  'volley-controller',
  'nats-server',
  'vmm',
  'vmm',
  'volley-placement',
  'volley-gateway',
];
const COMMANDS = ['pause', 'resume', 'resume', 'stop', 'start', 'start', 'start', 'kill'] as const;
/** One command in so many is a delete, so that most microVMs live through the faults. */
const DELETES = 40;

describeWithKvm('chaos', () => {
  if (natsServerMissing()) return it.todo('needs nats-server');

  it(`churns ${MICROVMS} canaries while everything is killed in turn; nothing is lost, doubled or left over (seed ${SEED})`, async () => {
    process.stdout.write(`chaos: seed ${SEED}\n`);
    const random = new SeededRandom(SEED);
    const fleet = await Fleet.up('--no-canary');
    try {
      const accepted = new Set<string>();
      const faults: Record<string, number> = {};
      let over = false;

      const create = async (number: number): Promise<void> => {
        // The same key until it is answered: a create whose answer was lost must not make a second microVM.
        const key = `churn-${SEED}-${number}`;
        const cmdline = number % 10 === 0 ? 'exit=panic after=2000' : number % 10 === 1 ? 'burn=5' : 'idle';
        const restartPolicy = number % 4 === 0 ? 'always' : 'never';
        await until(
          `create ${number} is answered`,
          async () => {
            const { status, body } = await fleet.rest<Microvm>(
              'POST',
              '/v1/microvms',
              { image: 'canary', memoryMiB: 8, cmdline, restartPolicy, labels: { number: String(number) } },
              { 'idempotency-key': key },
            );
            if (status === 202 || status === 201) accepted.add(body.id);
            return status < 300;
          },
          60_000,
        );
      };

      const churn = async (): Promise<void> => {
        while (!over) {
          const id = random.pick([...accepted]);
          const command = random.chance(1 / DELETES) ? 'delete' : random.pick(COMMANDS);
          // Whatever comes of it: refused, lost and done are all lawful answers under fire.
          const done =
            command === 'delete'
              ? fleet.rest('DELETE', `/v1/microvms/${id}`)
              : fleet.rest('POST', `/v1/microvms/${id}/${command}`, {});
          await done.catch(() => undefined);
          await new Promise((resolve) => setTimeout(resolve, random.int(20, 120)));
        }
      };

      const hurt = async (): Promise<void> => {
        for (let n = 0; n < FAULTS; n++) {
          // Each kind once, then any.
          const fault = FAULT_KINDS[n] ?? random.pick(FAULT_KINDS);
          const victims = fault === 'vmm' ? fleet.vmms() : [];
          if (fault !== 'vmm')
            await fleet.kill9(fault).catch(() => undefined); // it may be down from the fault before
          else if (victims.length > 0) kill(random.pick(victims).pid);
          faults[fault] = (faults[fault] ?? 0) + 1;
          await new Promise((resolve) => setTimeout(resolve, random.int(200, 2_500)));
        }
      };

      await Promise.all(Array.from({ length: MICROVMS / 2 }, (_, n) => create(n)));
      const churning = [churn(), churn(), churn(), churn()];
      const later = (async () => {
        for (let n = MICROVMS / 2; n < MICROVMS; n++) await create(n);
      })();
      await Promise.all([hurt(), later]);
      over = true;
      await Promise.all(churning);

      // L1: faults have stopped, so everything comes to rest. Canaries that panic and restart always would never: stop them.
      await until(
        'the fleet answers again',
        async () => (await fleet.rest('GET', '/readyz')).status === 200,
        SETTLE_MS,
      );
      for (const { id, cmdline } of await fleet.list()) {
        if (cmdline.includes('panic')) await until(`${id} takes its stop`, () => settled(fleet, id), SETTLE_MS);
      }
      await until(
        'the fleet rests',
        async () => (await fleet.list()).every(({ state }) => RESTING.includes(state)),
        SETTLE_MS,
      ).catch(async (error: unknown) => {
        const restless = (await fleet.list()).filter(({ state }) => !RESTING.includes(state));
        throw new Error(`${String(error)}\n${JSON.stringify(restless, null, 1)}\n${fleet.logs()}`);
      });

      const nats = await fleet.nats();
      const records = await readHistories(nats, MICROVM_STREAM.name);
      await nats.close();
      const { violations, endings } = checkHistories(records);
      violations.push(...checkHosts(endings, fleet.vmms(), accepted));
      if (violations.length > 0) process.stdout.write(`${fleet.logs(60)}\n`);
      expect(violations).toEqual([]);
      expect(new Set(endings.map(({ id }) => id))).toEqual(accepted);
      expect(accepted.size).toBe(MICROVMS);
      const alive = endings.filter(({ state }) => ALIVE.includes(state)).length;
      process.stdout.write(
        `chaos: ${records.length} records, faults ${JSON.stringify(faults)}, ${alive} alive in the end\n`,
      );

      // Deleting everything leaves nothing.
      for (const { id } of await fleet.list()) await fleet.rest('DELETE', `/v1/microvms/${id}`);
      await until('all are deleted', async () => (await fleet.list()).length === 0, SETTLE_MS);
      expect(fleet.vmms()).toEqual([]);
    } finally {
      await fleet.down();
    }
  });
});

/** Stops a microVM for good, or finds that it is down already. */
async function settled(fleet: Fleet, id: string): Promise<boolean> {
  const { state } = await fleet.get(id);
  if (['stopped', 'deleted'].includes(state)) return true;
  if (state === 'failed') return true;
  await fleet.rest('POST', `/v1/microvms/${id}/kill`, {});
  return false;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself meanwhile
  }
}
