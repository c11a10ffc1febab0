import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER, SHUTDOWN } from '#bus';
import { JournalUnavailableError } from '#journal';
import { microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import { OperationError } from '#protocol';
import { excessOf, QuotaLedger, RateLimits, type Demand, type Holding } from '#tenancy';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Tenants } from './tenants';

/** States in which a microVM neither holds a host nor wants one. */
const RESTING: readonly string[] = ['stopped', 'failed', 'suspended'];
/** How long a doubtful reservation stands before its history is asked, and asked again, in ms. */
const DOUBT_MS = 1_000;

type Sized = Pick<Holding, 'tenant' | 'vcpus' | 'memoryMiB'>;

/**
 * Keeps every tenant within its quotas, exactly: what a create or a start will hold is reserved before it is recorded, so that of any
 * number at once only as many pass as there is room for. The reservation ends when the history says what the microVM holds; as
 * long as nobody knows whether a record was written, it stands.
 */
@Injectable()
export class QuotaGate {
  readonly #ledger = new QuotaLedger();
  readonly #rates = new RateLimits();
  /** How many calls under way hold a reservation, by microVM. */
  readonly #reserved = new Map<string, number>();

  constructor(
    private readonly tenants: Tenants,
    private readonly histories: MicrovmHistories,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {
    histories.listen({ changed: (life) => this.#count(life.id, life), asked: () => {} });
  }

  /** What a tenant holds now, with what is reserved. */
  held(tenant: string): Demand {
    return this.#ledger.sum(tenant);
  }

  /**
   * Does the work that records a create, if there is room for it.
   *
   * @throws OperationError `refused` when a quota would be broken, `overloaded` when the tenant creates too fast; what `work` throws.
   */
  create<T>(id: string, { tenant, vcpus, memoryMiB }: Sized, work: () => Promise<T>): Promise<T> {
    const holding = { tenant, vcpus, memoryMiB };
    // Counted already: the same create once more.
    if (this.#ledger.get(id) === undefined) {
      this.#check(tenant, { microvms: 1, vcpus, memoryMiB });
      this.#checkRate(tenant);
    }
    return this.#reserving(id, holding, work);
  }

  /**
   * Does the work that records a start, if there is room for it.
   *
   * @throws OperationError `refused` when a quota would be broken; what `work` throws.
   */
  async start<T>(id: string, work: () => Promise<T>): Promise<T> {
    const life = await this.histories.find(id);
    if (!life || !RESTING.includes(microvmState(life))) return work();
    const { tenant, vcpus, memoryMiB } = microvmContext(life).spec;
    if (!this.#reserved.has(id)) this.#check(tenant, { microvms: 0, vcpus, memoryMiB });
    return this.#reserving(id, { tenant, vcpus, memoryMiB }, work);
  }

  #check(tenant: string, more: Demand): void {
    const quotas = this.tenants.get(tenant)?.quotas;
    if (!quotas) return;
    const excess = excessOf(quotas, this.held(tenant), more);
    if (excess.length === 0) return;
    const told = excess.map(({ path, message }) => `${path.replace('quotas.', '')}: ${message}`).join('; ');
    throw new OperationError('refused', `tenant ${tenant} has no room left in its quotas: ${told}`, excess);
  }

  #checkRate(tenant: string): void {
    const rate = this.tenants.get(tenant)?.quotas.createsPerSecond;
    const waitMs = this.#rates.take(tenant, rate, performance.now());
    if (waitMs === 0) return;
    throw new OperationError(
      'overloaded',
      `tenant ${tenant} may create ${rate} microVMs per second; try again in ${waitMs} ms`,
      undefined,
      waitMs,
    );
  }

  async #reserving<T>(id: string, holding: Holding, work: () => Promise<T>): Promise<T> {
    this.#reserved.set(id, (this.#reserved.get(id) ?? 0) + 1);
    this.#ledger.set(id, holding);
    try {
      const result = await work();
      this.#release(id);
      return result;
    } catch (error) {
      if (error instanceof JournalUnavailableError && error.outcome === 'unknown') void this.#releaseWhenKnown(id);
      else this.#release(id);
      throw error;
    }
  }

  #release(id: string): void {
    const others = this.#reserved.get(id)! - 1;
    if (others > 0) this.#reserved.set(id, others);
    else this.#reserved.delete(id);
    this.#count(id, this.histories.index.get(id));
  }

  /** Until JetStream has answered whether there is a record, the reservation stands. */
  async #releaseWhenKnown(id: string): Promise<void> {
    while (!this.shutdown.aborted) {
      await new Promise((resolve) => setTimeout(resolve, DOUBT_MS).unref());
      try {
        await this.histories.findCurrent(id);
        return this.#release(id);
      } catch (error) {
        this.logger.debug({ err: error, microvmId: id }, 'a reservation stands until its history can be read');
      }
    }
  }

  #count(id: string, life: MicrovmLife | undefined): void {
    // What is reserved is more than what the history says, or the same.
    if (!this.#reserved.has(id)) this.#ledger.set(id, life && holdingOf(life));
  }
}

function holdingOf(life: MicrovmLife): Holding | undefined {
  const state = microvmState(life);
  if (state === 'deleted') return undefined;
  const { tenant, vcpus, memoryMiB } = microvmContext(life).spec;
  return RESTING.includes(state) ? { tenant, vcpus: 0, memoryMiB: 0 } : { tenant, vcpus, memoryMiB };
}
