import { Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { BusClient } from '#bus';
import { OperationError, type Operation, type ReplyOf, type RequestOf } from '#protocol';
import { Partitions } from '../partitions/partitions';
import { Tenants } from './tenants';

/**
 * Has what adds to a tenant's quotas decided by one controller, the owner of the tenant's partition, so that the {@link QuotaGate} there sees all
 * of it. A tenant without quotas needs no such thing: any controller decides.
 */
@Injectable()
export class TenantOwner {
  constructor(
    private readonly partitions: Partitions,
    private readonly tenants: Tenants,
    private readonly bus: BusClient,
  ) {}

  /**
   * Decides here, or has the owner decide.
   *
   * @throws OperationError `unavailable` while the owner is not known or has just gone; what the owner or `here` throws.
   */
  async decide<O extends Operation>(
    tenant: string,
    atOwner: O,
    request: z.output<O['request']>,
    here: () => Promise<ReplyOf<O>>,
  ): Promise<ReplyOf<O>> {
    if (!this.#counts(tenant) || this.partitions.owns(tenant)) return here();
    const controllerId = this.partitions.ownerOf(tenant);
    if (controllerId === undefined || controllerId === this.partitions.id) throw moving(tenant);
    return this.bus.call(atOwner, request as RequestOf<O>, { values: { controllerId } });
  }

  /** Decides what another controller has handed to this one. @throws OperationError `unavailable` when it is not the owner. */
  async decideHanded<T>(tenant: string, here: () => Promise<T>): Promise<T> {
    if (!this.partitions.owns(tenant)) throw moving(tenant);
    return here();
  }

  #counts(tenant: string): boolean {
    return Object.keys(this.tenants.get(tenant)?.quotas ?? {}).length > 0;
  }
}

function moving(tenant: string): OperationError {
  return new OperationError('unavailable', `tenant ${tenant} is changing hands between controllers; try again`);
}
