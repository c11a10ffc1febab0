import type { NatsConnection } from 'nats';
import { wallClockMs, type LiveBucket } from '#journal';
import { SHARED, Tenant, TENANT_BUCKET, TenantId, type Coresidency } from '#protocol';
import { openBucket, updateBucket } from './tenancy-bucket';

export type TenantSettings = Pick<Tenant, 'quotas' | 'coresidency' | 'requestsPerSecond'>;

/** Who owns microVMs, within which bounds: a KV bucket, held in memory. */
export class TenantDirectory {
  private constructor(private readonly tenants: LiveBucket<Tenant>) {}

  /** @throws OperationError `unavailable` */
  static async open(
    nc: NatsConnection,
    onUnreadable?: (key: string, error: unknown) => void,
  ): Promise<TenantDirectory> {
    const tenants = await openBucket(nc, {
      name: TENANT_BUCKET.name,
      decode: (json) => Tenant.parse(json),
      holds: (key) => TenantId.safeParse(key).success,
      onUnreadable,
    });
    return new TenantDirectory(tenants);
  }

  get(id: string): Tenant | undefined {
    return this.tenants.get(id);
  }

  list(): Tenant[] {
    return [...this.tenants.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Puts a tenant on record, or changes its bounds. @throws OperationError `unavailable` */
  async put(id: string, settings: TenantSettings): Promise<Tenant> {
    const at = wallClockMs();
    let tenant!: Tenant;
    await updateBucket(
      this.tenants,
      id,
      (now) => (tenant = { id, ...settings, createdAt: now?.createdAt ?? at, updatedAt: at }),
    );
    return tenant;
  }

  /** Takes a tenant off the record. False: it was not there. @throws OperationError `unavailable` */
  async remove(id: string): Promise<boolean> {
    let wasThere = false;
    await updateBucket(this.tenants, id, (now) => {
      wasThere = now !== undefined;
      return undefined;
    });
    return wasThere;
  }

  /** Calls back with the id of every tenant that changes, comes or goes. Returns the way to stop. */
  onChange(listener: (id: string) => void): () => void {
    return this.tenants.onChange(listener);
  }

  /** With whom a tenant may share a host. Whom others want nothing to do with is told too, since that counts both ways. */
  coresidencyOf(id: string): Coresidency {
    const own = this.get(id)?.coresidency ?? SHARED;
    const neverWith = new Set(own.neverWith);
    for (const other of this.tenants.values()) if (other.coresidency.neverWith.includes(id)) neverWith.add(other.id);
    return { mode: own.mode, neverWith: [...neverWith].sort() };
  }

  close(): void {
    this.tenants.close();
  }
}
