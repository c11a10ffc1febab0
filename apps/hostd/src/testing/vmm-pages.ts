import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimedPidOffset } from '../recovery/vmm-abi';

/** Leaves in a run folder the pages of a VMM, by which an agent knows whose it is. */
export function leavePages(directory: string, pid: number): void {
  const page = Buffer.alloc(claimedPidOffset + 4);
  page.writeUInt32LE(pid, claimedPidOffset);
  writeFileSync(join(directory, 'pages'), page);
}
