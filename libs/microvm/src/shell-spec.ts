import { resolve } from 'node:path';
import { isBarrier, toBarrierBits } from './barriers';
import type { ShellSpec } from './microvm-driver';
import type { NativeShellOrder } from './native-binding';
import { demand, isPath, isWhole } from './spec-checks';

/** Highest user and group id: the one above means "unchanged" to the kernel. */
const MAX_ID = 0xffff_fffe;
const MAX_OPEN_FILES = 1_048_576;

/** A jail that every agent can build: as its own user, without any right, behind the system call filter. */
export function defaultShellSpec(): ShellSpec {
  return {
    barriers: ['capabilities', 'rlimits', 'seccomp'],
    uid: process.getuid!(),
    gid: process.getgid!(),
    openFiles: 1024,
    fileBytes: Number.MAX_SAFE_INTEGER,
  };
}

/** Checks a spec and turns it into what the binding takes. Throws {@link VmmLaunchError} naming the field. */
export function toShellOrder(spec: ShellSpec): NativeShellOrder {
  demand(
    Array.isArray(spec.barriers) && spec.barriers.every(isBarrier),
    'shell.barriers must be a list of known barriers',
  );
  demand(isWhole(spec.uid, 0, MAX_ID), `shell.uid must be a whole number from 0 to ${MAX_ID}`);
  demand(isWhole(spec.gid, 0, MAX_ID), `shell.gid must be a whole number from 0 to ${MAX_ID}`);
  demand(
    isWhole(spec.openFiles, 16, MAX_OPEN_FILES),
    `shell.openFiles must be a whole number from 16 to ${MAX_OPEN_FILES}`,
  );
  demand(
    isWhole(spec.fileBytes, 0, Number.MAX_SAFE_INTEGER),
    'shell.fileBytes must be a whole number of bytes, at most 2^53 - 1 (which means no limit)',
  );
  const cgroupPaths = spec.cgroupPaths ?? [];
  demand(Array.isArray(cgroupPaths) && cgroupPaths.every(isPath), 'shell.cgroupPaths must be a list of paths');
  return {
    barriers: toBarrierBits(spec.barriers),
    uid: spec.uid,
    gid: spec.gid,
    openFiles: spec.openFiles,
    fileBytes: spec.fileBytes,
    cgroupPaths: cgroupPaths.map((path) => resolve(path)),
  };
}
