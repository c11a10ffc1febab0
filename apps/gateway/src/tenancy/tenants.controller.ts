import { Controller, Inject } from '@nestjs/common';
import { OperationError, type Tenant } from '#protocol';
import { TenantDirectory, TokenDirectory } from '#tenancy';
import { FLEET, type Fleet } from '../fleet/fleet';
import { Input, Serves, type InputOf } from '../http/route';
import * as routes from './tenants.routes';
import { requireOwn } from './visible-fleet';

/**
 * Tenants over REST. The gateway writes their records itself: every process holds them by a watch, so that nobody need be asked, and
 * bounds can be set while no controller is there.
 */
@Controller()
export class TenantsController {
  constructor(
    @Inject(TenantDirectory) private readonly tenants: TenantDirectory,
    @Inject(TokenDirectory) private readonly tokens: TokenDirectory,
    @Inject(FLEET) private readonly fleet: Fleet,
  ) {}

  @Serves(routes.listTenantsRoute)
  list(@Input(routes.listTenantsRoute) _input: unknown): { items: Tenant[] } {
    return { items: this.tenants.list() };
  }

  @Serves(routes.getTenantRoute)
  get(@Input(routes.getTenantRoute) { who, params }: InputOf<typeof routes.getTenantRoute>): Tenant {
    requireOwn(who, params.id);
    const tenant = this.tenants.get(params.id);
    if (!tenant) throw unknownTenant(params.id);
    return tenant;
  }

  @Serves(routes.putTenantRoute)
  put(@Input(routes.putTenantRoute) { params, body }: InputOf<typeof routes.putTenantRoute>): Promise<Tenant> {
    return this.tenants.put(params.id, body);
  }

  @Serves(routes.deleteTenantRoute)
  async remove(@Input(routes.deleteTenantRoute) { params }: InputOf<typeof routes.deleteTenantRoute>) {
    const { id } = params;
    if (!this.tenants.get(id)) throw unknownTenant(id);
    if (this.fleet.list({ tenant: id, limit: 1 }).items.length > 0) {
      throw new OperationError('conflict', `Tenant ${id} has microVMs; delete them first.`);
    }
    // First the tokens: without a record, whoever had one would be bound by nothing.
    const own = this.tokens.list().filter(({ tenant, revokedAt }) => tenant === id && revokedAt === null);
    for (const token of own) await this.tokens.revoke(token.id);
    await this.tenants.remove(id);
    return { removed: true, revokedTokens: own.length };
  }
}

function unknownTenant(id: string): OperationError {
  return new OperationError('notFound', `No tenant ${id} is on record; GET /v1/tenants lists them.`);
}
