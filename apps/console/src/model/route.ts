import { queryFromSearch, queryToSearch, type MicrovmQuery } from './microvm-query';

/** What the page shows; kept in the part of the address after `#`, so every view can be linked to. */
export type Route =
  | { page: 'fleet'; query: MicrovmQuery }
  | { page: 'host'; id: string }
  /** `at`: as it was at this instant, ms since 1970. */
  | { page: 'microvm'; id: string; at: number | null };

export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#/, '').split('?', 2);
  const parameters = new URLSearchParams(search);
  const host = /^\/hosts\/([^/]+)$/.exec(path);
  if (host) return { page: 'host', id: decoded(host[1]!) };
  const match = /^\/microvms\/([^/]+)$/.exec(path);
  if (match) {
    const at = Number(parameters.get('at') ?? 'none');
    return { page: 'microvm', id: decoded(match[1]!), at: Number.isFinite(at) && at >= 0 ? at : null };
  }
  return { page: 'fleet', query: queryFromSearch(parameters) };
}

export function formatRoute(route: Route): string {
  if (route.page === 'microvm') {
    return `#/microvms/${encodeURIComponent(route.id)}${route.at === null ? '' : `?at=${route.at}`}`;
  }
  if (route.page === 'host') return `#/hosts/${encodeURIComponent(route.id)}`;
  const search = queryToSearch(route.query).toString();
  return `#/${search && `?${search}`}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
