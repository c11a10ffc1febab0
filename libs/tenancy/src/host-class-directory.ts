import type { NatsConnection } from 'nats';
import { wallClockMs, type LiveBucket } from '#journal';
import {
  HOST_CLASS_BUCKET,
  HostClass,
  HostClassName,
  objectionTo,
  OperationError,
  type HostClassSettings,
} from '#protocol';
import { findInBucket, openBucket, updateBucket } from './tenancy-bucket';

/** How far hosts of each class are promised: a KV bucket, held in memory. Written by operators alone, as what tenants may have. */
export class HostClassDirectory {
  private constructor(private readonly classes: LiveBucket<HostClass>) {}

  /** @throws OperationError `unavailable` */
  static async open(
    nc: NatsConnection,
    onUnreadable?: (key: string, error: unknown) => void,
  ): Promise<HostClassDirectory> {
    const classes = await openBucket(nc, {
      name: HOST_CLASS_BUCKET.name,
      decode: (json) => HostClass.parse(json),
      holds: (key) => HostClassName.safeParse(key).success,
      onUnreadable,
    });
    return new HostClassDirectory(classes);
  }

  get(name: string): HostClass | undefined {
    return this.classes.get(name);
  }

  /** As {@link get}, but asks the bucket when it is not known here: it may have been put there just now. @throws OperationError `unavailable` */
  async find(name: string): Promise<HostClass | undefined> {
    return this.get(name) ?? (await findInBucket(this.classes, name));
  }

  list(): HostClass[] {
    return [...this.classes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Puts a class on record, or changes what its hosts go by. @throws OperationError `invalid`, `unavailable` */
  async put(name: string, settings: HostClassSettings): Promise<HostClass> {
    const objection = objectionTo(settings);
    if (objection !== undefined) throw new OperationError('invalid', objection);
    let written!: HostClass;
    await updateBucket(this.classes, name, (now) => {
      // Names this version to the hosts: two writes within a millisecond are two versions, and the clock may have been set back.
      const updatedAt = Math.max(wallClockMs(), (now?.updatedAt ?? 0) + 1);
      return (written = { name, ...settings, createdAt: now?.createdAt ?? updatedAt, updatedAt });
    });
    return written;
  }

  /** Takes a class off the record. False: it was not there. @throws OperationError `unavailable` */
  async remove(name: string): Promise<boolean> {
    let wasThere = false;
    await updateBucket(this.classes, name, (now) => {
      wasThere = now !== undefined;
      return undefined;
    });
    return wasThere;
  }

  /** Calls back with the name of every class that changes, comes or goes. Returns the way to stop. */
  onChange(listener: (name: string) => void): () => void {
    return this.classes.onChange(listener);
  }

  close(): void {
    this.classes.close();
  }
}
