import type { ChaosFleet } from '../fleet/chaos-fleet';
import { sleep, until } from '../fleet/wait';
import type { SeededRandom } from '../seeded-random';
import type { PlannedMicrovm, RunPlan } from './run-plan';

const COMMANDS = ['pause', 'resume', 'resume', 'stop', 'start', 'start', 'start', 'kill'] as const;
/** One command in so many is a delete, so that most microVMs live through the faults. */
const DELETES = 30;
const CHURNERS = 3;
/** How long a create is repeated: longer than any fault lasts. */
const CREATE_MS = 60_000;

/** Thrown when the control plane says that what we ask for is wrong: a mistake of the suite, or of the control plane. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
}

/** What clients do to a fleet during one run. */
export class Workload {
  /** microVMs that the fleet has accepted, by id. */
  readonly accepted = new Map<string, PlannedMicrovm>();
  #over = false;
  #churning: Promise<void>[] = [];
  #creating: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly fleet: ChaosFleet,
    private readonly plan: RunPlan,
  ) {}

  /** Creates the first half, then churns while the second half is created. Resolves when the churn has begun. */
  async start(): Promise<void> {
    const { microvms, churn, churnEveryMs } = this.plan;
    const half = Math.ceil(microvms.length / 2);
    await Promise.all(microvms.slice(0, half).map((planned) => this.#create(planned)));
    this.#creating = (async () => {
      for (const planned of microvms.slice(half)) await this.#create(planned);
    })();
    this.#creating.catch(() => undefined); // told by stop
    this.#churning = Array.from({ length: CHURNERS }, () => this.#churn(churn, churnEveryMs));
  }

  /** No more commands; resolves when every create was answered. */
  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#churning);
    await this.#creating;
  }

  /** The same key until it is answered: a create whose answer was lost must not make a second microVM. */
  #create(planned: PlannedMicrovm): Promise<void> {
    return until(
      `create ${planned.key} is answered`,
      async () => {
        const { status, body } = await this.fleet.rest<{ id: string }>('POST', '/v1/microvms', planned.spec, {
          'idempotency-key': planned.key,
        });
        if (status === 201 || status === 202) this.accepted.set(body.id, planned);
        else if (status < 500 && status !== 429 && status !== 408) return this.#refused(planned, status, body);
        return status < 300;
      },
      CREATE_MS,
    ).then(() => {
      if (this.#refusal) throw this.#refusal;
    });
  }

  #refusal: RefusedError | undefined;

  /** Not to be tried again; `until` takes an error for "not yet". */
  #refused(planned: PlannedMicrovm, status: number, body: unknown): true {
    this.#refusal = new RefusedError(`create of ${JSON.stringify(planned.spec)}: ${status} ${JSON.stringify(body)}`);
    return true;
  }

  async #churn(random: SeededRandom, everyMs: number): Promise<void> {
    while (!this.#over) {
      await sleep(random.int(everyMs / 4, 2 * everyMs));
      const [id, planned] = random.pick([...this.accepted]);
      const command = random.chance(1 / DELETES) ? 'delete' : random.pick(COMMANDS);
      if (command !== 'start' || !planned.once) {
        // Whatever comes of it: refused, lost and done are all lawful answers under fire.
        const done =
          command === 'delete'
            ? this.fleet.rest('DELETE', `/v1/microvms/${id}`)
            : this.fleet.rest('POST', `/v1/microvms/${id}/${command}`, {});
        await done.catch(() => undefined);
      }
    }
  }
}
