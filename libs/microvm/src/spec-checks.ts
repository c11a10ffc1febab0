import { VmmLaunchError } from './errors';

/** Refuses a spec with a sentence that names the field. */
export function demand(met: boolean, message: string): asserts met {
  if (!met) throw new VmmLaunchError(message);
}

export function isPath(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

export function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}
