import { Problem } from './problem';
import type { ResponseDefinition } from './route';

const problem = (name: string, description: string): ResponseDefinition => ({
  name,
  description,
  schema: Problem,
  contentType: 'application/problem+json',
});

/** What any route that needs the token may answer, beside its own. */
export const REFUSALS = {
  401: problem('Unauthorized', 'No token, or one that is not good, or not any more.'),
  403: problem('Forbidden', "The token's role does not allow it, or it names another tenant."),
  429: problem('Overloaded', 'Too much at once. Nothing was done; come back after `Retry-After` seconds.'),
};
export const NOT_FOUND = { 404: problem('NotFound', 'There is no such thing, or it is not yours.') };
export const INVALID = {
  422: problem('Invalid', 'A field, a parameter or a header is wrong or unknown; `errors` says which.'),
};
export const MALFORMED = {
  400: problem('Malformed', 'The body is not JSON.'),
  413: problem('TooLarge', 'The body is larger than 64 KiB.'),
  415: problem('UnsupportedMediaType', 'The body is not application/json.'),
};
export const CONFLICT = {
  409: problem(
    'Conflict',
    'Its state does not accept this, or the key was used for something else; or it came to rest in another state than the ' +
      'awaited one: `microvm` shows it.',
  ),
};
export const AWAY = {
  503: problem('Unavailable', 'A service is away; nothing was done. Come back after `Retry-After` seconds.'),
  504: problem(
    'Timeout',
    'No answer in time, the outcome is not known: send it again with the same `Idempotency-Key`.',
  ),
};
/** What any route that changes one thing may answer, beside its own. */
export const NOT_DONE = { ...MALFORMED, ...REFUSALS, ...NOT_FOUND, ...CONFLICT, ...INVALID, ...AWAY };
