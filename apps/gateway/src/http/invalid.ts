import { ProblemError } from './problem';

const MOST = 32;

/** 422 with one entry per wrong field, as many as a reader can use. */
export function invalid(errors: { path: string; message: string }[]): ProblemError {
  const shown = errors.slice(0, MOST).map(({ path, message }) => ({ path: path.slice(0, 200), message }));
  const first = shown[0];
  const rest = errors.length > 1 ? ` (and ${errors.length - 1} more, see errors)` : '';
  const detail = first
    ? `${first.path === '' ? 'the body' : first.path}: ${first.message}${rest}`
    : 'the request is not valid';
  return new ProblemError(422, 'invalid', detail, { errors: shown });
}
