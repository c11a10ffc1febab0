import { Injectable } from '@nestjs/common';
import type { Coresidency } from '#protocol';
import { Tenants } from './tenants';

/** With whom a tenant's microVMs may share a host. */
@Injectable()
export class CoresidencyRules {
  constructor(private readonly tenants: Tenants) {}

  /** `neverWith` holds those that this tenant names and those that name it. A tenant that is not on record shares hosts. */
  of(tenant: string): Coresidency {
    return this.tenants.coresidencyOf(tenant);
  }
}
