import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { BusClient } from '#bus';
import { PlacementAnswer, placementAnswers, type Decision } from '#protocol';

/** Hears from the placement service what was decided on microVMs that had to wait for capacity. */
@Injectable()
export class PlacementAnswers implements OnModuleInit, OnModuleDestroy {
  /** Where this process hears them. */
  readonly subject = placementAnswers(randomUUID());
  readonly #expected = new Map<string, ExpectedAnswer>();
  #unsubscribe = (): void => {};

  constructor(private readonly bus: BusClient) {}

  onModuleInit(): void {
    const onAnswer = ({ decisionId, receipt }: PlacementAnswer): void => this.#expected.get(decisionId)?.give(receipt);
    const subscription = this.bus.subscribe(this.subject, onAnswer, { schema: PlacementAnswer });
    this.#unsubscribe = () => subscription.unsubscribe();
  }

  onModuleDestroy(): void {
    if (!this.bus.connection.isClosed()) this.#unsubscribe();
  }

  /** Listens for one decision, from before it is asked for, so that none is missed; to be forgotten in the end. */
  expect(decisionId: string): ExpectedAnswer {
    const answer = new ExpectedAnswer();
    this.#expected.set(decisionId, answer);
    return answer;
  }

  forget(decisionId: string): void {
    this.#expected.delete(decisionId);
  }
}

export class ExpectedAnswer {
  #decision: Decision | undefined;
  #wake = (): void => {};

  give(decision: Decision): void {
    this.#decision = decision;
    this.#wake();
  }

  /** The decision, or undefined when none is told within `ms` (it may have been lost: ask) or `signal` fires. */
  async within(ms: number, signal: AbortSignal): Promise<Decision | undefined> {
    if (this.#decision || signal.aborted) return this.#decision;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#wake(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', this.#wake);
        resolve();
      };
      signal.addEventListener('abort', this.#wake, { once: true });
    });
    return this.#decision;
  }
}
