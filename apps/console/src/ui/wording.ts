import type { Microvm } from '#protocol';
import { Problem } from '../api/problem';

/** What people call a microVM. */
export function nameOf({ name, id }: Microvm): string {
  return name ?? id;
}

/** What kind of failure it was, in a few words. */
export function titleOf(error: unknown): string {
  return error instanceof Problem ? error.title : 'it did not work';
}
