import { Controller, Inject, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { BusClient, Handles } from '#bus';
import { readWorkingSet } from '#microvm';
import { syncTemplates, templatesChanged } from '#protocol';
import { RepeatedComparison } from '../controller-link/repeated-comparison';
import { HostAgent } from '../host-agent';
import { WarmPools } from '../pools/warm-pools';
import { fetchTemplate } from './fetch-template';
import { exchangeOver, type TemplateExchange } from './template-exchange';
import { TemplateLostError, type HeldTemplate } from './template-store';
import { TemplatePublisher, type Publication } from './template-publisher';

/** How often the templates of this host are compared with those on record, should a change have been missed, ms. */
const COMPARE_MS = 10_000;
const RETRY_MS = 2_000;
/** How often the pools follow the demand, ms. */
const ADJUST_MS = 500;
/** Clones that all pools of a host may keep. */
const POOLS_MOST = 512;

/**
 * Tells the controllers which templates are here, gives up what nobody wants any more, publishes and fetches others, and keeps the pools of
 * the rest.
 */
@Controller()
export class TemplateLink implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #comparison = new RepeatedComparison({
    compare: () => this.#compare(),
    failed: (error) => this.agent.log.debug({ err: error }, 'templates are not compared yet'),
    everyMs: COMPARE_MS,
    retryMs: RETRY_MS,
  });
  #adjustments: NodeJS.Timeout | undefined;
  readonly #pools: WarmPools;
  readonly #publisher: TemplatePublisher;
  readonly #exchange: TemplateExchange;
  /** The object store has what their first clones have shown; by identity, as a copy that was fetched anew is another one. */
  readonly #told = new WeakSet<HeldTemplate>();
  /** Publications that the controllers do not know of yet. */
  #published: Publication[] = [];
  /** Lost by the object store, and the controllers do not know yet. */
  #missing = new Set<string>();

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {
    const { warmClones: warm, log, templates, hostId } = agent;
    const exchange = exchangeOver(bus, hostId);
    this.#exchange = exchange;
    templates.connect(async (wanted, signal) => {
      try {
        const held = await fetchTemplate(exchange, templates, wanted, signal);
        // What came with it need not go back.
        if (await readWorkingSet(held.folder)) this.#told.add(held);
        return held;
      } catch (error) {
        if (error instanceof TemplateLostError) {
          this.#missing.add(wanted.templateId);
          this.#comparison.soon();
        }
        throw error;
      }
    });
    this.#publisher = new TemplatePublisher({
      ...{ store: templates, exchange, log },
      over: (publication) => {
        this.#published.push(publication);
        this.#comparison.soon();
      },
    });
    this.#pools = new WarmPools({
      keep: (wanted) => warm.keep(wanted),
      makeS: () => warm.makeMs / 1_000,
      most: POOLS_MOST,
      nowS: () => performance.now() / 1_000,
      log,
    });
  }

  onApplicationBootstrap(): void {
    this.agent.templates.onChange(() => this.#comparison.soon());
    this.agent.workingSets.onWritten(() => this.#comparison.soon());
    this.agent.templates.onUse((id) => this.#pools.arrived(id));
    this.#adjustments = setInterval(() => this.#pools.adjust(), ADJUST_MS);
    this.#adjustments.unref();
    this.#comparison.soon();
  }

  onApplicationShutdown(): void {
    this.#comparison.stop();
    clearInterval(this.#adjustments);
    this.#publisher.stop();
  }

  @Handles(templatesChanged)
  changed(): Record<string, never> {
    this.#comparison.soon();
    return {};
  }

  async #compare(): Promise<void> {
    const { hostId, templates } = this.agent;
    const published = [...this.#published];
    const missing = [...this.#missing];
    const held = templates.list();
    const told = { hostId, held, published, ...(missing.length > 0 ? { missing } : {}) };
    const answer = await this.bus.call(syncTemplates, told, { values: { hostId } });
    const { drop, pools, publish, stored } = answer;
    this.#published = this.#published.filter((one) => !published.includes(one));
    for (const id of missing) this.#missing.delete(id);
    for (const id of drop) await templates.remove(id);
    await templates.setStored(new Set(stored), held);
    await this.#tellWorkingSets(stored);
    this.#publisher.want(publish);
    this.#pools.setPolicies(new Map(pools.map(({ templateId, policy }) => [templateId, policy])));
  }

  /** What was learnt here of templates that the object store has. What cannot be told now is told the next time. */
  async #tellWorkingSets(stored: readonly string[]): Promise<void> {
    const { log, templates } = this.agent;
    for (const templateId of stored) {
      const held = templates.get(templateId);
      if (!held || this.#told.has(held)) continue;
      try {
        const workingSet = await readWorkingSet(held.folder);
        if (!workingSet) continue;
        await this.#exchange.putWorkingSet(templateId, workingSet);
        this.#told.add(held);
      } catch (error) {
        log.debug({ err: error as Error, templateId }, 'the working set of a template is not told yet');
      }
    }
  }
}
