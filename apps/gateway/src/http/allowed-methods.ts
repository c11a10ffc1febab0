import type { RouteDefinition } from './route';

/** The methods that a path takes; none when no route has this path. HEAD comes with GET. */
export function allowedMethods(routes: readonly RouteDefinition[], path: string): string[] {
  const segments = path.split('/');
  const methods = new Set<string>();
  for (const route of routes) {
    if (!matches(route.path.split('/'), segments)) continue;
    methods.add(route.method);
    if (route.method === 'GET') methods.add('HEAD');
  }
  return [...methods].sort();
}

function matches(template: string[], segments: string[]): boolean {
  if (template.length !== segments.length) return false;
  return template.every((part, i) => (part.startsWith('{') ? segments[i] !== '' : part === segments[i]));
}
