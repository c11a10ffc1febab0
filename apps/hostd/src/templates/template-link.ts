import { Controller, Inject, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { BusClient, Handles } from '#bus';
import { syncTemplates, templatesChanged } from '#protocol';
import { HostAgent } from '../host-agent';

/** How often the templates of this host are compared with those on record, should a change have been missed, ms. */
const COMPARE_MS = 10_000;
const RETRY_MS = 2_000;

/** Tells the controllers which templates are here, and gives up what nobody wants any more. */
@Controller()
export class TemplateLink implements OnApplicationBootstrap, OnApplicationShutdown {
  #timer: NodeJS.Timeout | undefined;
  #comparing = false;
  #again = false;
  #stopped = false;

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {}

  onApplicationBootstrap(): void {
    this.agent.templates.onChange(() => this.#soon());
    this.#soon();
  }

  onApplicationShutdown(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  @Handles(templatesChanged)
  changed(): Record<string, never> {
    this.#soon();
    return {};
  }

  #soon(): void {
    if (this.#comparing) this.#again = true;
    else this.#in(0);
  }

  #in(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#compare(), ms);
    this.#timer.unref();
  }

  async #compare(): Promise<void> {
    const { hostId, templates, log } = this.agent;
    this.#comparing = true;
    this.#again = false;
    let next = COMPARE_MS;
    try {
      const { drop } = await this.bus.call(syncTemplates, { hostId, held: templates.list() }, { values: { hostId } });
      for (const id of drop) await templates.remove(id);
    } catch (error) {
      log.debug({ err: error as Error }, 'templates are not compared yet');
      next = RETRY_MS;
    } finally {
      this.#comparing = false;
      this.#in(this.#again ? 0 : next);
    }
  }
}
