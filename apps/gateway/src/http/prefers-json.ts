/** Whether an Accept header names application/json with a higher weight than text/plain. */
export function prefersJson(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  return weightOf(accept, 'application/json') > weightOf(accept, 'text/plain');
}

function weightOf(accept: string, type: string): number {
  let best = 0;
  for (const part of accept.split(',')) {
    const [name, ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    if (name !== type) continue;
    const q = Number(parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? 1);
    best = Math.max(best, Number.isNaN(q) ? 0 : q);
  }
  return best;
}
