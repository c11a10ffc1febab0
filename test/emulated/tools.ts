import { join } from 'node:path';
import { findEmulatedHostTools, type Availability } from '#emulated-host';

/** Kept between test runs, outside of version control. */
export const KERNEL_CACHE = join(__dirname, '../../.volley/cache/kernels');

export function emulatedHostTools(): Availability {
  return findEmulatedHostTools(KERNEL_CACHE);
}
