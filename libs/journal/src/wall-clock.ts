/**
 * ms since 1970 with fraction. Follows the monotonic clock within a process, so that short latencies are true, and falls
 * back to the wall clock when that was set meanwhile.
 */
export function wallClockMs(): number {
  const precise = performance.timeOrigin + performance.now();
  const wall = Date.now();
  return Math.abs(precise - wall) > 20 ? wall : Math.round(precise * 1000) / 1000;
}
