import type { GroupLife, GroupMember } from '#lifecycle';
import { GROUP_LABEL, type MicrovmSpec } from '#protocol';

/**
 * What a member is created from; undefined when its spec was replaced before it could be created. Members are spread over hosts
 * unless the spec itself says something about the places of the group.
 */
export function memberSpec({ name, wanted, stable }: GroupLife, member: GroupMember): MicrovmSpec | undefined {
  const version = [wanted, stable].find(({ revision }) => revision === member.specRevision);
  if (!version) return undefined;
  const { spec } = version;
  const { placement = {} } = spec;
  const says = [placement.spread, placement.affinity, placement.antiAffinity].some((keys) =>
    keys?.includes(GROUP_LABEL),
  );
  return {
    ...spec,
    name: `${name.slice(0, 56)}-${member.microvmId.slice(-6)}`,
    labels: { ...spec.labels, [GROUP_LABEL]: name },
    placement: says ? placement : { ...placement, spread: [...(placement.spread ?? []), GROUP_LABEL] },
  };
}
