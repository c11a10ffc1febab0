import { Problem } from './problem';
import type { ResponseDefinition } from './route';

/** What any route that needs the token may answer, beside its own. */
export const REFUSALS: Record<number, ResponseDefinition> = {
  401: { description: 'No token, or a wrong one.', schema: Problem, contentType: 'application/problem+json' },
};

const problem = (description: string): ResponseDefinition => ({
  description,
  schema: Problem,
  contentType: 'application/problem+json',
});

export const NOT_FOUND = { 404: problem('There is no such thing, and never was.') };
export const INVALID = { 422: problem('A field, a parameter or a header is wrong or unknown; `errors` says which.') };
export const MALFORMED = {
  400: problem('The body is not JSON.'),
  413: problem('The body is larger than 64 KiB.'),
  415: problem('The body is not application/json.'),
};
export const CONFLICT = {
  409: problem('Its state does not accept this; or it came to rest in another state than the awaited one: `microvm` shows it.'),
};
export const AWAY = {
  503: problem('A service is away; nothing was done. Come back after `Retry-After` seconds.'),
  504: problem('No answer in time, the outcome is not known: send it again with the same `Idempotency-Key`.'),
};
