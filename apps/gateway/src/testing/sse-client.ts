export interface ServerSentEvent {
  id: string | undefined;
  type: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into whatever came
  data: any;
}

/** Parses what an event stream wrote so far. Blocks without data move the last id and are told as type `id`. */
export function parseEvents(text: string): ServerSentEvent[] {
  const blocks = text.split('\n\n');
  blocks.pop(); // not ended yet
  return blocks.flatMap((block) => {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
    }
    const data = fields.get('data');
    const id = fields.get('id');
    if (data === undefined) return id === undefined ? [] : [{ id, type: 'id', data: undefined }];
    return [{ id, type: fields.get('event') ?? 'message', data: JSON.parse(data) as unknown }];
  });
}

/** A client of /v1/events that remembers what it saw. */
export class SseClient {
  #text = '';
  #changed: () => void = () => undefined;
  readonly #abort = new AbortController();
  /** Resolves when the server ended the stream. */
  readonly ended: Promise<void>;

  private constructor(response: Response) {
    this.ended = this.#read(response).catch(() => undefined);
  }

  static async open(url: string, token: string, lastEventId?: string): Promise<SseClient> {
    const response = await fetch(url, {
      headers: {
        authorization: `Bearer ${token}`,
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      },
    });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    return new SseClient(response);
  }

  /** Events with data. */
  get events(): ServerSentEvent[] {
    return parseEvents(this.#text).filter(({ type }) => type !== 'id');
  }

  get text(): string {
    return this.#text;
  }

  get lastId(): string | undefined {
    return parseEvents(this.#text).findLast(({ id }) => id !== undefined)?.id;
  }

  async until(condition: (client: this) => boolean): Promise<void> {
    while (!condition(this)) await new Promise<void>((resolve) => (this.#changed = resolve));
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.ended;
  }

  async #read(response: Response): Promise<void> {
    const reader = response.body!.getReader();
    this.#abort.signal.addEventListener('abort', () => void reader.cancel());
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#text += decoder.decode(value, { stream: true });
      this.#changed();
    }
  }
}
