/**
 * Lines of waiting things, one for each tenant, which take turns: within a tenant in order of arrival, and between tenants one
 * after the other, so that a thousand of one delay another's one by no more than one turn.
 */
export class FairQueue<T> {
  /** In order of turn; a tenant goes to the end after its turn and leaves with its last item. */
  readonly #lines = new Map<string, Map<string, T>>();
  readonly #tenantOf = new Map<string, string>();

  get size(): number {
    return this.#tenantOf.size;
  }

  get(key: string): T | undefined {
    return this.#lines.get(this.#tenantOf.get(key) ?? '')?.get(key);
  }

  /** Whether nobody of this tenant waits. */
  isEmptyFor(tenant: string): boolean {
    return !this.#lines.has(tenant);
  }

  /** Puts an item at the end of its tenant's line, or in place of the one with the same key. */
  add(tenant: string, key: string, item: T): void {
    const line = this.#lines.get(tenant) ?? new Map<string, T>();
    this.#lines.set(tenant, line);
    line.set(key, item);
    this.#tenantOf.set(key, tenant);
  }

  remove(key: string): T | undefined {
    const tenant = this.#tenantOf.get(key);
    if (tenant === undefined) return undefined;
    const line = this.#lines.get(tenant)!;
    const item = line.get(key);
    line.delete(key);
    this.#tenantOf.delete(key);
    if (line.size === 0) this.#lines.delete(tenant);
    return item;
  }

  /**
   * Goes round the tenants and offers the first item of each to `take`, again and again until a whole round was turned down.
   * What is taken leaves the queue, and its tenant goes to the end of the turns.
   */
  serve(take: (item: T, key: string) => boolean): void {
    for (let served = true; served;) {
      served = false;
      for (const tenant of [...this.#lines.keys()]) if (this.#offerFirst(tenant, take)) served = true;
    }
  }

  /** The same for one tenant alone: what was not first in its line may be so now. */
  serveTenant(tenant: string, take: (item: T, key: string) => boolean): void {
    while (this.#offerFirst(tenant, take));
  }

  #offerFirst(tenant: string, take: (item: T, key: string) => boolean): boolean {
    const line = this.#lines.get(tenant);
    if (!line) return false;
    const [key, item] = line.entries().next().value!;
    if (!take(item, key)) return false;
    this.remove(key);
    if (this.#lines.delete(tenant)) this.#lines.set(tenant, line);
    return true;
  }
}
