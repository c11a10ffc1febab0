import type { DataFolder } from '../supervisor/data-folder';
import { markedProcesses } from '../supervisor/marked-processes';

/** The name of every supervised nats-server begins so. */
export const NATS_SERVER = 'nats-server';

/** Has the nats-servers of a local `up` read again who may come in. Gives how many there are. */
export function reloadNats(folder: DataFolder): number {
  const servers = markedProcesses(folder.path).filter(({ name }) => name.startsWith(NATS_SERVER));
  for (const { pid } of servers) process.kill(pid, 'SIGHUP');
  return servers.length;
}
