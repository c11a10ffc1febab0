import { join } from 'node:path';
import { fetchKernelPackage } from '#kernel-package';

const FLAVOURS = ['cloud', 'generic'] as const;

/** Fetches Debian's kernels, which tests in several suites boot or take apart; returns what cannot be had, and why. */
export async function fetchKernels(root: string): Promise<string[]> {
  const cacheFolder = join(root, '.volley/cache/kernels');
  const problems: string[] = [];
  for (const flavour of FLAVOURS) {
    try {
      await fetchKernelPackage({ cacheFolder, flavour });
    } catch (error) {
      problems.push(`tests with Debian's ${flavour} kernel will be skipped: ${(error as Error).message}`);
    }
  }
  return problems;
}
