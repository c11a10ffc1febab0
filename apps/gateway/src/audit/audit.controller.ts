import { Controller, Inject } from '@nestjs/common';
import { wallClockMs } from '#journal';
import { AuditReader } from '#tenancy';
import { Input, Serves, type InputOf } from '../http/route';
import { requireOwn } from '../tenancy/visible-fleet';
import { auditRoute } from './audit.routes';

const RECENT_MS = 3_600_000;

/** The audit over REST. */
@Controller()
export class AuditController {
  constructor(@Inject(AuditReader) private readonly reader: AuditReader) {}

  @Serves(auditRoute)
  async list(@Input(auditRoute) { who, query }: InputOf<typeof auditRoute>) {
    requireOwn(who, query.tenant);
    const { from = wallClockMs() - RECENT_MS, tenant, token: tokenId, ...rest } = query;
    const { items, next } = await this.reader.read({ from, tenant: who.tenant ?? tenant, tokenId, ...rest });
    return { items, nextCursor: next };
  }
}
