/** Thrown by the client when the gateway refused or could not be reached. `status` 0: no answer came. */
export class Problem extends Error {
  override readonly name = 'Problem';
  constructor(
    readonly status: number,
    /** Short: what kind of refusal. */
    readonly title: string,
    /** What is wrong and what to do. */
    readonly detail: string,
    /** One entry per wrong field, `path` in dotted form. */
    readonly fields: readonly { path: string; message: string }[] = [],
  ) {
    super(detail || title);
  }

  /** True when the same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const TITLES: Record<number, string> = {
  401: 'The token was refused',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Not possible now',
  413: 'Too large',
  422: 'Not accepted',
  429: 'Too many requests',
  503: 'A service did not answer',
  504: 'No answer in time',
};

type Json = Record<string, unknown>;
const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** Reads an RFC 9457 problem document out of an answer; anything else becomes a problem that says what came instead. */
export function problemOf(status: number, body: string): Problem {
  const fallback = TITLES[status] ?? `HTTP status ${status}`;
  let document: Json;
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed !== 'object' || parsed === null) throw new TypeError('no object');
    document = parsed as Json;
  } catch {
    return new Problem(status, fallback, body.trim().slice(0, 300));
  }
  const listed = [document['errors'], document['details']].find(Array.isArray) ?? [];
  const fields = listed
    .filter((entry): entry is Json => typeof entry === 'object' && entry !== null)
    .map((entry) => ({
      path: text(entry['path']) ?? text(entry['pointer'])?.replace(/^#?\//, '').replaceAll('/', '.') ?? '',
      message: text(entry['message']) ?? text(entry['detail']) ?? 'is not accepted',
    }));
  return new Problem(
    status,
    text(document['title']) ?? fallback,
    text(document['detail']) ?? text(document['message']) ?? '',
    fields,
  );
}
