import { hostClassOf, type HostLife } from '#lifecycle';
import type { HostClass, PolicyHeld } from '#protocol';

/** What a host is to go by: the settings of its class, or its own ones where its class is not on record. */
export function wantedPolicy(life: HostLife, classNamed: (name: string) => HostClass | undefined): PolicyHeld {
  const { name } = hostClassOf(life);
  const found = classNamed(name);
  if (!found) return { hostClass: name, revision: null, settings: null };
  const { policy, guaranteed, guards, updatedAt } = found;
  return {
    hostClass: name,
    revision: updatedAt,
    settings: { policy, ...(guaranteed ? { guaranteed } : {}), guards },
  };
}

/** Whether two are the same version of the same policy. */
export function isSamePolicy(one: PolicyHeld, other: PolicyHeld): boolean {
  return one.hostClass === other.hostClass && one.revision === other.revision;
}
