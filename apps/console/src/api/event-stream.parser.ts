/** One server-sent event. */
export interface ServerSentEvent {
  /** `message` when the server named none. */
  type: string;
  data: string;
}

/**
 * Parses a `text/event-stream` piece by piece, wherever the pieces are cut. Follows the parsing rules of the HTML standard:
 * CR, LF and CRLF end lines, an event without data is not an event but its id counts, an unfinished event is dropped.
 */
export class EventStreamParser {
  #rest = '';
  #afterCarriageReturn = false;
  #started = false;
  #type = '';
  #data: string[] = [];
  #pendingId: string | null = null;

  /** The id to resume after: of the last event that was handed out. Null before the first. */
  lastEventId: string | null;
  /** What the server asked clients to wait before they connect again, in ms. */
  retryMs: number | null = null;

  constructor(lastEventId: string | null = null) {
    this.lastEventId = lastEventId;
  }

  /** Events completed by this piece, in order. {@link lastEventId} is that of the last of them. */
  push(piece: string): ServerSentEvent[] {
    let text = this.#rest + piece;
    if (!this.#started && text.length > 0) {
      this.#started = true;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    const events: ServerSentEvent[] = [];
    let start = 0;
    // A line feed that belongs to the carriage return at the end of the piece before.
    if (this.#afterCarriageReturn && text.length > 0) {
      if (text[0] === '\n') start = 1;
      this.#afterCarriageReturn = false;
    }
    for (let at = start; at < text.length; at++) {
      const character = text.charCodeAt(at);
      if (character !== 10 && character !== 13) continue;
      this.#line(text.slice(start, at), events);
      if (character === 13) {
        if (at + 1 === text.length) this.#afterCarriageReturn = true;
        else if (text.charCodeAt(at + 1) === 10) at++;
      }
      start = at + 1;
    }
    this.#rest = text.slice(start);
    return events;
  }

  #line(line: string, events: ServerSentEvent[]): void {
    if (line === '') {
      this.#dispatch(events);
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    switch (field) {
      case 'event':
        this.#type = value;
        break;
      case 'data':
        this.#data.push(value);
        break;
      case 'id':
        if (!value.includes('\0')) this.#pendingId = value;
        break;
      case 'retry':
        if (/^\d+$/.test(value)) this.retryMs = Number(value);
        break;
      default:
    }
  }

  #dispatch(events: ServerSentEvent[]): void {
    if (this.#pendingId !== null) this.lastEventId = this.#pendingId;
    if (this.#data.length > 0) events.push({ type: this.#type || 'message', data: this.#data.join('\n') });
    this.#type = '';
    this.#data = [];
    this.#pendingId = null;
  }
}
