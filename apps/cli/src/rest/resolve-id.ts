import { MICROVM_STATES, type Microvm } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { RestClient } from './rest-client';

const FULL_ID = /^[0-9a-hjkmnp-tv-z]{26}$/;
const PREFIX = /^[0-9a-hjkmnp-tv-z]{1,25}$/;
const LIVING = MICROVM_STATES.filter((state) => state !== 'deleted');

/** The id of the microVM that `text` names: its id, a beginning or end of it that no other has, or a name that no other has. */
export async function resolveId(client: RestClient, text: string): Promise<string> {
  if (FULL_ID.test(text)) return text;
  const matches = new Map<string, Microvm>();
  // Names and ids of the living come first; the deleted are asked for only when nobody else matches.
  for (const state of [LIVING, ['deleted']]) {
    for await (const microvm of client.pages<Microvm>('/v1/microvms', { state })) {
      if (microvm.name === text || (PREFIX.test(text) && isPart(microvm.id, text))) matches.set(microvm.id, microvm);
    }
    if (matches.size > 0) break;
  }
  const [first, ...others] = matches.keys();
  if (first === undefined)
    throw new CliError(
      `no microVM has the id or name ${JSON.stringify(text)}; see: volley ps --all`,
      ExitCode.notFound,
    );
  if (others.length > 0) {
    const some = [first, ...others].slice(0, 3).join(', ');
    throw new CliError(
      `${JSON.stringify(text)} could be any of ${matches.size} microVMs: ${some}${matches.size > 3 ? ', ...' : ''}`,
      ExitCode.notFound,
    );
  }
  return first;
}

/** Ids that were made together begin alike, so people see and type their ends. */
function isPart(id: string, text: string): boolean {
  return id.startsWith(text) || (text.length >= 4 && id.endsWith(text));
}
