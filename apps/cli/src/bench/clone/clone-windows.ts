import { distribution } from '../percentiles';

/** So many clones in a row; `to` is the number of the last of them, counted from 1. ms. */
export interface CloneWindow {
  to: number;
  p50: number;
  p99: number;
}

export function cloneWindows(readyMs: readonly number[], size: number): CloneWindow[] {
  return Array.from({ length: Math.ceil(readyMs.length / size) }, (_, index) => {
    const part = readyMs.slice(index * size, (index + 1) * size);
    const { p50, p99 } = distribution(part)!;
    return { to: index * size + part.length, p50, p99 };
  });
}
