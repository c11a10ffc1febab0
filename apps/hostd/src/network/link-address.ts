import { sizeOf, type Ipv4Network } from './ipv4';

/** Pairs at the end of the pool of which one becomes the link between the agent's namespace and the host. */
export const LINK_PAIRS = 1_024;

/**
 * The first address of a pair for the link: at a place that follows from the agent's name, or the next one of which the host
 * has no address yet, so that any number of agents share a host and a pool. Undefined when all are taken.
 */
export function chooseLink(pool: Ipv4Network, name: string, taken: ReadonlySet<number>): number | undefined {
  const pairs = Math.min(LINK_PAIRS, sizeOf(pool) / 2);
  const first = pool.base + sizeOf(pool) - 2 * pairs;
  let hash = 0x811c9dc5;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  for (let step = 0; step < pairs; step++) {
    const address = first + 2 * ((hash + step) % pairs);
    if (!taken.has(address) && !taken.has(address + 1)) return address;
  }
  return undefined;
}
