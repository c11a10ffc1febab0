import type { WhatIfReport } from '#protocol';
import type { Claim } from './load/claim';
import { waitsOf } from './waits';

/** What became of these claims when they were recorded. */
export function recordedCounts(claims: readonly Claim[]): WhatIfReport['recorded'] {
  const counts = { asked: claims.length, placed: 0, refused: 0, unanswered: 0 };
  const waits: number[] = [];
  for (const { was, askedAt } of claims) {
    if (was.kind === 'placed') {
      counts.placed++;
      waits.push(was.at - askedAt);
    } else if (was.kind === 'refused') counts.refused++;
    else counts.unanswered++;
  }
  return { ...counts, waitMs: waitsOf(waits) };
}
