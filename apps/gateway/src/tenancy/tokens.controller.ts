import { Controller, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { wallClockMs } from '#journal';
import { OperationError, type Token } from '#protocol';
import { sees, TenantDirectory, TokenDirectory, type Principal } from '#tenancy';
import { invalid } from '../http/invalid';
import { Input, Serves, type InputOf } from '../http/route';
import { BOOTSTRAP } from './principals';
import * as routes from './tokens.routes';
import { requireOwn } from './visible-fleet';

/** Tokens over REST. The gateway makes them itself, so that a secret travels to nobody but the one who asked for it. */
@Controller()
export class TokensController {
  constructor(
    @Inject(TokenDirectory) private readonly tokens: TokenDirectory,
    @Inject(TenantDirectory) private readonly tenants: TenantDirectory,
  ) {}

  @Serves(routes.createTokenRoute)
  async create(
    @Input(routes.createTokenRoute) { who, body }: InputOf<typeof routes.createTokenRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { name, role, ttlSeconds } = body;
    requireOwn(who, body.tenant);
    if (who.tenant !== null && role === 'operator') {
      throw new OperationError('forbidden', 'Only an operator makes tokens of operators.');
    }
    const tenant = who.tenant ?? body.tenant ?? null;
    this.#check(name, role, tenant);
    const expiresAt = ttlSeconds === undefined ? null : wallClockMs() + ttlSeconds * 1_000;
    const made = await this.tokens.make({ name, role, tenant, expiresAt });
    return answered(reply, made);
  }

  @Serves(routes.listTokensRoute)
  list(@Input(routes.listTokensRoute) { who, query }: InputOf<typeof routes.listTokensRoute>): { items: Token[] } {
    requireOwn(who, query.tenant);
    const wanted = who.tenant ?? query.tenant;
    return { items: this.tokens.list().filter(({ tenant }) => wanted === undefined || tenant === wanted) };
  }

  @Serves(routes.revokeTokenRoute)
  async revoke(@Input(routes.revokeTokenRoute) { who, params }: InputOf<typeof routes.revokeTokenRoute>) {
    this.#require(who, params.id);
    return (await this.tokens.revoke(params.id)) ?? unknownToken(params.id);
  }

  @Serves(routes.rotateTokenRoute)
  async rotate(
    @Input(routes.rotateTokenRoute) { who, params, body }: InputOf<typeof routes.rotateTokenRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    this.#require(who, params.id);
    const made = await this.tokens.rotate(params.id, body.graceSeconds * 1_000);
    return made ? answered(reply, made) : unknownToken(params.id);
  }

  /** Another tenant's token is not there. */
  #require(who: Principal, id: string): void {
    const token = this.tokens.get(id);
    if (!token || (who.tenant !== null && (token.tenant === null || !sees(who, token.tenant)))) unknownToken(id);
  }

  #check(name: string, role: Token['role'], tenant: string | null): void {
    if (name === BOOTSTRAP.name) {
      throw invalid([{ path: 'name', message: `${name} is the token of the token file; choose another name` }]);
    }
    if (role === 'operator' && tenant !== null) {
      throw invalid([{ path: 'tenant', message: 'an operator is of no tenant' }]);
    }
    if (role.startsWith('tenant-') && tenant === null) {
      throw invalid([{ path: 'tenant', message: `a ${role} needs a tenant` }]);
    }
    if (tenant !== null && !this.tenants.get(tenant)) {
      throw invalid([
        { path: 'tenant', message: `no tenant ${tenant} is on record; PUT /v1/tenants/${tenant} makes it` },
      ]);
    }
  }
}

function answered(reply: FastifyReply, made: { token: Token; secret: string }) {
  reply.status(201).header('location', `/v1/tokens/${made.token.id}`);
  return made;
}

function unknownToken(id: string): never {
  throw new OperationError('notFound', `There is no token ${id}; GET /v1/tokens lists them.`);
}
