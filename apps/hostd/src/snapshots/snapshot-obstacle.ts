import { describeSnapshot, restoreObstacle } from '#microvm';
import type { SnapshotPlatform } from '#protocol';

/** Says why the snapshot in a folder cannot be restored, in one sentence; undefined: it can. */
export type SnapshotObstacle = (folder: string) => Promise<string | undefined>;

/** For a host that restores what was taken on this platform; undefined: nothing. */
export function snapshotObstacleOn(platform: SnapshotPlatform | undefined): SnapshotObstacle {
  return async (folder) => {
    if (!platform) return 'this host restores no snapshots';
    try {
      const host = { kvmKind: platform.kvm, ...(platform.cpu ? { cpu: platform.cpu } : {}) };
      return restoreObstacle(await describeSnapshot(folder), host);
    } catch (error) {
      return (error as Error).message;
    }
  };
}
