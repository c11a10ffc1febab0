import type { RateLimit, TuningRecord } from '#protocol';

/** A change of a running microVM in a few words. */
export function toldTuning(tuning: TuningRecord): string {
  switch (tuning.kind) {
    case 'limit':
      return `${[tuning.device, tuning.direction].filter(Boolean).join(' ')} ${toldLimit(tuning.limit)}`;
    case 'balloon':
      return `balloon ${tuning.mib} MiB`;
    case 'ctrlAltDel':
      return 'Ctrl-Alt-Del';
    case 'metadata':
      return tuning.keys.length === 0 ? 'no metadata' : `metadata ${tuning.keys.join(' ')}`;
  }
}

function toldLimit({ bytesPerSecond, operationsPerSecond }: RateLimit): string {
  const parts = [
    bytesPerSecond === undefined ? undefined : `${bytesPerSecond} bytes/s`,
    operationsPerSecond === undefined ? undefined : `${operationsPerSecond} operations/s`,
  ].filter(Boolean);
  return parts.length === 0 ? 'not limited' : parts.join(' and ');
}
