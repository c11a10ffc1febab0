import type { HostCoresidency, Span } from '#protocol';
import type { Stay } from './residency';

/**
 * Who shared a host with `tenant` in a span of time: for each host where anybody did, when, and who was there at those times. Spans
 * include their beginning and not their end.
 */
export function coresidencyOf(tenant: string, stays: Iterable<Stay>, window: Span): HostCoresidency[] {
  const byHost = new Map<string, { own: Stay[]; others: Stay[] }>();
  for (const stay of stays) {
    if (stay.from >= window.to || (stay.to ?? Infinity) <= window.from) continue;
    const host = byHost.get(stay.hostId) ?? { own: [], others: [] };
    byHost.set(stay.hostId, host);
    (stay.tenant === tenant ? host.own : host.others).push(stay);
  }
  return [...byHost]
    .map(([hostId, { own, others }]) => onHost(hostId, own, others, window))
    .filter(({ spans }) => spans.length > 0)
    .sort((a, b) => (a.hostId < b.hostId ? -1 : 1));
}

function onHost(hostId: string, own: Stay[], others: Stay[], window: Span): HostCoresidency {
  const present = union(own.map((stay) => clip(stay, window)));
  const shared = new Map<string, { tenant: string; spans: Span[] }>();
  for (const stay of others) {
    const spans = intersect(present, clip(stay, window));
    if (spans.length === 0) continue;
    const before = shared.get(stay.microvmId);
    shared.set(stay.microvmId, { tenant: stay.tenant, spans: union([...(before?.spans ?? []), ...spans]) });
  }
  const spans = union([...shared.values()].flatMap((one) => one.spans));
  const tenants = new Map<string, { id: string; spans: Span[] }[]>();
  for (const [id, one] of [...shared].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const list = tenants.get(one.tenant) ?? [];
    tenants.set(one.tenant, list);
    list.push({ id, spans: one.spans });
  }
  return {
    hostId,
    spans,
    own: [...new Set(own.filter((stay) => touches(spans, clip(stay, window))).map((stay) => stay.microvmId))].sort(),
    others: [...tenants].sort(([a], [b]) => (a < b ? -1 : 1)).map(([tenant, microvms]) => ({ tenant, microvms })),
  };
}

function clip({ from, to }: { from: number; to: number | null }, window: Span): Span {
  return { from: Math.max(from, window.from), to: Math.min(to ?? Infinity, window.to) };
}

/** The same time in disjoint spans in order, none of them empty; those that touch become one. */
function union(spans: readonly Span[]): Span[] {
  const sorted = spans.filter(({ from, to }) => from < to).sort((a, b) => a.from - b.from);
  const merged: Span[] = [];
  for (const { from, to } of sorted) {
    const last = merged.at(-1);
    if (last && from <= last.to) merged[merged.length - 1] = { from: last.from, to: Math.max(last.to, to) };
    else merged.push({ from, to });
  }
  return merged;
}

/** The parts of `span` that lie in `sorted`, which is disjoint and in order. */
function intersect(sorted: readonly Span[], span: Span): Span[] {
  const parts: Span[] = [];
  for (let i = firstEndingAfter(sorted, span.from); i < sorted.length && sorted[i]!.from < span.to; i++) {
    const part = { from: Math.max(sorted[i]!.from, span.from), to: Math.min(sorted[i]!.to, span.to) };
    if (part.from < part.to) parts.push(part);
  }
  return parts;
}

function touches(sorted: readonly Span[], span: Span): boolean {
  return intersect(sorted, span).length > 0;
}

function firstEndingAfter(sorted: readonly Span[], time: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.to <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}
