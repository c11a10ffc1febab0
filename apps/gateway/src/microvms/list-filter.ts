import type { z } from 'zod';
import type { MicrovmFilter } from '#fleet';
import { invalid } from '../http/invalid';
import type { ListQuery } from './microvms.schemas';

/** What the query of a list asks for. @throws ProblemError 422 when a label is given twice. */
export function filterOf(query: z.output<typeof ListQuery>): MicrovmFilter {
  const { state, host: hostId, tenant, image, name, label, limit, cursor } = query;
  return { state, hostId, tenant, image, name, labels: labelsOf(label), limit, cursor };
}

function labelsOf(pairs: string[] | undefined): Record<string, string> | undefined {
  if (pairs === undefined) return undefined;
  const labels = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    const key = pair.slice(0, equals);
    if (labels.has(key)) throw invalid([{ path: 'query.label', message: `${key} is given twice` }]);
    labels.set(key, pair.slice(equals + 1));
  }
  return Object.fromEntries(labels);
}
