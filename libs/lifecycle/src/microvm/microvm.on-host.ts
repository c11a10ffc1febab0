import type { MicrovmStateName } from '#protocol';

/** States in which there is, or may be, something of the latest incarnation on its host, be it its memory on a disk there. */
export const ON_HOST: ReadonlySet<MicrovmStateName> = new Set([
  'starting',
  'running',
  'pausing',
  'paused',
  'resuming',
  'snapshotting',
  'suspending',
  'suspended',
  'restoring',
  'moving',
  'stopping',
  'unreachable',
  'deleting',
]);
