import { OperationError, type MicrovmSpec } from '#protocol';
import type { Principal } from '#tenancy';
import { requireOwn } from './visible-fleet';

/** Share of CPU for each vCPU that everybody has by default; more of it is taken from neighbours. */
const WEIGHT_PER_VCPU = 100;

/**
 * What this principal may have of what it asks for: a tenant's microVM is the tenant's. `sent` is the spec as it was sent, since what the
 * schema puts where nothing is given names nobody.
 *
 * @throws OperationError `forbidden` when a tenant's token names another tenant, or asks for more of a host than others get.
 */
export function ownSpec(who: Principal, spec: MicrovmSpec, sent: { tenant?: string } | undefined): MicrovmSpec {
  requireOwn(who, sent?.tenant);
  if (who.tenant === null) return spec;
  const most = WEIGHT_PER_VCPU * spec.vcpus;
  if ((spec.limits?.cpuWeight ?? 0) > most) {
    throw new OperationError('forbidden', `limits.cpuWeight: a tenant may ask for 100 for each vCPU, ${most} here.`);
  }
  return { ...spec, tenant: who.tenant };
}
