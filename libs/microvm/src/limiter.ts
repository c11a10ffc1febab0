import type { Bucket, Limiter } from './microvm-driver';
import { demand, isWhole } from './spec-checks';

/** Sizes of a bucket beyond this overflow the arithmetic of the VMM. */
const MAX_TOKENS = 2 ** 50;
const MAX_REFILL_MS = 86_400_000;

function bucketNumbers(bucket: Bucket | undefined, field: string): number[] {
  if (bucket === undefined) return [0, 0, 0];
  const { size, burst = 0, refillMs } = bucket;
  demand(isWhole(size, 1, MAX_TOKENS), `${field}.size must be a whole number from 1 to 2^50`);
  demand(isWhole(burst, 0, MAX_TOKENS), `${field}.burst must be a whole number from 0 to 2^50`);
  demand(isWhole(refillMs, 1, MAX_REFILL_MS), `${field}.refillMs must be a whole number from 1 to ${MAX_REFILL_MS}`);
  return [size, burst, refillMs];
}

/** Size, burst and refill of the bytes, then of the operations: as `volley_limiter` of native/abi has them. */
export function limiterNumbers(limiter: Limiter | undefined, field: string): number[] {
  return [
    ...bucketNumbers(limiter?.bytes, `${field}.bytes`),
    ...bucketNumbers(limiter?.operations, `${field}.operations`),
  ];
}
