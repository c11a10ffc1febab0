import type { NatsConnection } from 'nats';
import { LiveBucket, type LiveBucketOptions } from '#journal';
import { OperationError } from '#protocol';

/** Opens what this library keeps in a bucket. @throws OperationError `unavailable` when JetStream does not answer. */
export function openBucket<T>(nc: NatsConnection, options: LiveBucketOptions<T>): Promise<LiveBucket<T>> {
  return answered(`the bucket ${options.name} cannot be opened`, LiveBucket.open(nc, options));
}

/** Asks the bucket for a value; see {@link LiveBucket.find}. @throws OperationError `unavailable` */
export function findInBucket<T>(bucket: LiveBucket<T>, key: string): Promise<T | undefined> {
  return answered('it could not be read', bucket.find(key));
}

/** Changes a value; see {@link LiveBucket.update}. @throws OperationError `unavailable` */
export function updateBucket<T>(
  bucket: LiveBucket<T>,
  key: string,
  change: (now: T | undefined) => T | undefined,
): Promise<void> {
  return answered('the change could not be made', bucket.update(key, change));
}

async function answered<R>(what: string, work: Promise<R>): Promise<R> {
  try {
    return await work;
  } catch (error) {
    throw new OperationError('unavailable', `${what}: ${(error as Error).message}; try again`);
  }
}
