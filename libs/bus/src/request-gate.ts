/** Whether a service takes requests at the moment. A part of the service that knows when it must not closes it. */
export class RequestGate {
  #closed: () => boolean = () => false;

  get isClosed(): boolean {
    return this.#closed();
  }

  /** Requests are turned away as long as this holds; it is asked for each of them. */
  closeWhile(condition: () => boolean): void {
    this.#closed = condition;
  }
}
