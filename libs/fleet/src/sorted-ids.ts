/** A set of sortable ids kept in order. Ids arrive nearly sorted, so inserting is almost always an append. */
export class SortedIds {
  readonly #ids: string[] = [];

  get size(): number {
    return this.#ids.length;
  }

  add(id: string): void {
    const last = this.#ids[this.#ids.length - 1];
    if (last === undefined || id > last) {
      this.#ids.push(id);
      return;
    }
    const at = this.#lowerBound(id);
    if (this.#ids[at] !== id) this.#ids.splice(at, 0, id);
  }

  delete(id: string): void {
    const at = this.#lowerBound(id);
    if (this.#ids[at] === id) this.#ids.splice(at, 1);
  }

  /** Ids in order, from the first one after `cursor`. */
  *after(cursor?: string): Generator<string> {
    let at = cursor === undefined ? 0 : this.#lowerBound(cursor);
    if (cursor !== undefined && this.#ids[at] === cursor) at++;
    for (; at < this.#ids.length; at++) yield this.#ids[at]!;
  }

  #lowerBound(id: string): number {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ids[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
