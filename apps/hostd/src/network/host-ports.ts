import { readFileSync } from 'node:fs';

const LISTEN = '0A';

/** Whether a program of this host listens on a port; handing it on to a microVM would take it away from that program. */
export function isPortTaken(protocol: 'tcp' | 'udp', port: number): boolean {
  return [protocol, `${protocol}6`].some((table) => {
    let text: string;
    try {
      text = readFileSync(`/proc/net/${table}`, 'latin1');
    } catch {
      return false;
    }
    return text
      .split('\n')
      .slice(1)
      .some((line) => {
        const [, local, remote, state] = line.trim().split(/\s+/);
        if (local === undefined || parseInt(local.slice(local.lastIndexOf(':') + 1), 16) !== port) return false;
        // A connected UDP socket is some program's own business with one peer.
        return protocol === 'tcp' ? state === LISTEN : remote!.endsWith(':0000');
      });
  });
}
