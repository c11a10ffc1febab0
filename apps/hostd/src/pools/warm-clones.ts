import type { Logger } from 'pino';
import type { MicrovmDriver } from '#microvm';
import { wantedDevices } from '#protocol';
import type { SlotKeeper } from '../slots/slot-keeper';
import type { HeldTemplate, TemplateStore } from '../templates/template-store';

/** After clones were claimed: starts that come in a row are served first, ms. */
const REFILL_MS = 20;
/** After one could not be made, ms. */
const RETRY_MS = 5_000;
/** After all were given up because the host needed their memory, ms. */
const GIVEN_UP_MS = 30_000;
/** Of making one, before one was made. */
const FIRST_GUESS_MS = 10;
/** Weight of the newest in the mean. */
const NEWEST_COUNTS = 0.2;

export interface WarmClonesParts {
  slots: Pick<SlotKeeper, 'lend' | 'reserve' | 'reserved' | 'endReserved' | 'onReservedTaken'>;
  templates: Pick<TemplateStore, 'get' | 'whole' | 'onChange'>;
  driver: Pick<MicrovmDriver, 'prime'>;
  /** How many are made at the same time. */
  atOnce: number;
  /** How long none is made after all were given up, ms. */
  givenUpMs?: number;
  log: Logger;
}

/**
 * The members of this host's pools: jailed processes in which a template is restored but for what makes a clone somebody. They keep a slot,
 * which a start that finds no other takes from them. They are in no record: nothing that ends the agent can leave one behind, since
 * they end with the socket that they were born with.
 */
export class WarmClones {
  #wanted: ReadonlyMap<string, number> = new Map();
  #making = 0;
  #makeMs = FIRST_GUESS_MS;
  #next: NodeJS.Timeout | undefined;
  #notBefore = 0;
  #stopped = false;

  constructor(private readonly parts: WarmClonesParts) {
    parts.templates.onChange(() => this.#endStale());
    parts.slots.onReservedTaken(() => this.#later(REFILL_MS));
  }

  /** From now on so many are kept of each template; none of others. */
  keep(wanted: ReadonlyMap<string, number>): void {
    this.#wanted = wanted;
    for (const { key } of this.parts.slots.reserved()) this.#trim(key);
    this.#follow();
  }

  /** How long one takes to be there when it is missed, ms. */
  get makeMs(): number {
    return REFILL_MS + this.#makeMs;
  }

  report(): { clones: number; memoryMiB: number } {
    const { slots, templates } = this.parts;
    const reserved = slots.reserved();
    const memoryMiB = reserved.reduce((sum, { key }) => sum + (templates.get(key)?.manifest.spec.memoryMiB ?? 0), 0);
    return { clones: reserved.length, memoryMiB };
  }

  /** Ends all and makes none for a while: the host needs what they hold. Gives how many there were. */
  giveUp(): number {
    const { slots, givenUpMs = GIVEN_UP_MS } = this.parts;
    const reserved = slots.reserved();
    for (const one of reserved) slots.endReserved(one);
    this.#notBefore = performance.now() + givenUpMs;
    this.#later(givenUpMs);
    return reserved.length;
  }

  /** Makes no more; those that wait end with the slots. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#next);
  }

  #trim(templateId: string): void {
    const { slots } = this.parts;
    const surplus = slots.reserved(templateId).slice(this.#wanted.get(templateId) ?? 0);
    for (const reserved of surplus) slots.endReserved(reserved);
  }

  /** A template that is gone, or came back as another copy, has nothing waiting. */
  #endStale(): void {
    const { slots, templates } = this.parts;
    for (const reserved of slots.reserved()) {
      if (templates.get(reserved.key) !== reserved.source) slots.endReserved(reserved);
    }
    this.#later(REFILL_MS);
  }

  #later(ms: number): void {
    if (this.#stopped || this.#next) return;
    this.#next = setTimeout(() => {
      this.#next = undefined;
      this.#follow();
    }, ms);
    this.#next.unref();
  }

  #follow(): void {
    const waitMs = this.#notBefore - performance.now();
    if (waitMs > 0) return this.#later(waitMs);
    while (!this.#stopped && this.#making < this.parts.atOnce) {
      const held = this.#missing();
      if (!held) return;
      this.#making++;
      void this.#make(held).then((made) => {
        this.#making--;
        if (made) this.#follow();
        else this.#later(RETRY_MS);
      });
    }
  }

  /** A template that is here and has too few, those being made included. */
  #missing(): HeldTemplate | undefined {
    const { slots, templates } = this.parts;
    for (const [id, wanted] of this.#wanted) {
      const held = templates.get(id);
      if (held && slots.reserved(id).length + this.#making < wanted) return held;
    }
    return undefined;
  }

  /** False when there is no place, or the template cannot be restored. Never rejects. */
  async #make(asked: HeldTemplate): Promise<boolean> {
    const { slots, templates, driver, log } = this.parts;
    const { templateId, spec } = asked.manifest;
    const beganAt = performance.now();
    let lent: Awaited<ReturnType<SlotKeeper['lend']>>;
    try {
      const held = await templates.whole(asked);
      lent = await slots.lend(wantedDevices(spec).network !== undefined);
      if (!lent) return false;
      await driver.prime(lent.shell, held.folder);
      // Within one step, so that none can be left of what was given up meanwhile.
      const isWanted = templates.get(templateId) === held && performance.now() >= this.#notBefore && !this.#stopped;
      if (!isWanted || slots.reserved(templateId).length >= (this.#wanted.get(templateId) ?? 0)) {
        lent.giveBack();
        return true;
      }
      this.#makeMs += (performance.now() - beganAt - this.#makeMs) * NEWEST_COUNTS;
      slots.reserve({ slot: lent.slot, key: templateId, source: held, shell: lent.shell });
      return true;
    } catch (error) {
      lent?.giveBack();
      log.warn({ err: error as Error, templateId }, 'no clone could be made ready ahead of need');
      return false;
    }
  }
}
