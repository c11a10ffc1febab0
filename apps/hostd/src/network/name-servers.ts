import { readFileSync } from 'node:fs';
import { contains, parseAddress, parseNetwork } from './ipv4';

/** What a resolver on this host itself, or on its link, is to nobody else. */
const OWN = ['127.0.0.0/8', '169.254.0.0/16', '0.0.0.0/8'].map((text) => parseNetwork(text)!);
/** The second one is where systemd keeps the servers behind the resolver that it puts into the first. */
const FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];
const MOST = 3;

/** Name servers of this host that guests can reach, too: IPv4, and not on the host itself. */
export function nameServers(read: (path: string) => string = (path) => readFileSync(path, 'utf8')): string[] {
  for (const file of FILES) {
    let text: string;
    try {
      text = read(file);
    } catch {
      continue;
    }
    const found = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)]
      .map(([, address]) => address!)
      .filter((address) => {
        const number = parseAddress(address);
        return number !== undefined && !OWN.some((network) => contains(network, number));
      });
    if (found.length > 0) return found.slice(0, MOST);
  }
  return [];
}
