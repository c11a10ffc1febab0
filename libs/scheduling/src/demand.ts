import {
  classOf,
  findImage,
  groupOf,
  groupsOf,
  parseImageReference,
  wantedDevices,
  type Coresidency,
  type MicrovmClass,
  type MicrovmSpec,
  type TemplatePlaces,
} from '#protocol';

/** What a microVM asks of a host, as a decision sees it and its receipt keeps it. */
export interface Demand {
  /** Name of a built-in image; null for an imported one, which any host that boots Linux can fetch. */
  builtinImage: string | null;
  /** Content of an imported image. */
  imageDigest: string | null;
  /** Of a clone: where its template is. */
  template?: TemplatePlaces | undefined;
  network: boolean;
  class: MicrovmClass;
  vcpus: number;
  memoryMiB: number;
  tenant: string;
  coresidency: Coresidency;
  /** Hosts that are out of the question. */
  excluded: readonly string[];
  hostLabels: Readonly<Record<string, string>>;
  /** Groups it wants to be with, not to be with, and to be apart from; and all that it belongs to. */
  affinity: readonly string[];
  antiAffinity: readonly string[];
  spread: readonly string[];
  groups: readonly string[];
}

export function demandOf(
  spec: MicrovmSpec,
  coresidency: Coresidency,
  excluded: readonly string[],
  template?: TemplatePlaces,
): Demand {
  const builtin = findImage(spec.image) !== undefined;
  const groups = (labels: readonly string[] | undefined): string[] =>
    (labels ?? []).map((label) => groupOf(spec, label));
  return {
    builtinImage: builtin ? spec.image : null,
    imageDigest: builtin ? null : (parseImageReference(spec.image).digest ?? null),
    ...(template ? { template } : {}),
    network: wantedDevices(spec).network !== undefined,
    class: classOf(spec),
    vcpus: spec.vcpus,
    memoryMiB: spec.memoryMiB,
    tenant: spec.tenant,
    coresidency,
    excluded,
    hostLabels: spec.placement?.hostLabels ?? {},
    affinity: groups(spec.placement?.affinity),
    antiAffinity: groups(spec.placement?.antiAffinity),
    spread: groups(spec.placement?.spread),
    groups: groupsOf(spec),
  };
}
