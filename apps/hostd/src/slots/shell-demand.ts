/** What kind of slot a start takes. */
export type StartKind = 'network' | 'plain';

/** How many of the shells kept ready should stand in slots with a tap: as many as of the latest starts wanted a network. */
export class ShellDemand {
  readonly #latest: StartKind[];
  #next = 0;

  /** Before anything has started both kinds are expected alike. */
  constructor(private readonly shells: number) {
    this.#latest = Array.from({ length: shells }, (_, i) => (i % 2 === 0 ? 'network' : 'plain'));
  }

  get network(): number {
    return this.#latest.filter((kind) => kind === 'network').length;
  }

  note(kind: StartKind): void {
    if (this.shells === 0) return;
    this.#latest[this.#next] = kind;
    this.#next = (this.#next + 1) % this.shells;
  }
}
