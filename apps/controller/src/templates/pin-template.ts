import {
  OperationError,
  type DataDisk,
  parseTemplateReference,
  wantedDevices,
  type MicrovmSpec,
  type TemplateRecord,
} from '#protocol';

export interface ReadyTemplates {
  find(id: string): Promise<TemplateRecord | undefined>;
  /** Oldest first. */
  list(): TemplateRecord[];
}

/** What is in the memory of the template, or on its disks. */
const IN_MEMORY = [
  'entrypoint',
  'command',
  'env',
  'user',
  'workdir',
  'rootDiskMiB',
  'vsock',
  'balloon',
  'rng',
] as const;
/** Of the template's devices: a clone has the same. */
const DEVICES = ['rootDiskMiB', 'vsock', 'balloon', 'rng', 'network'] as const;
const DEFAULTS = { vcpus: 1, memoryMiB: 128 } as const;

/**
 * Makes the spec of a clone whole with what is its template's, and pins the template's content. A template of another tenant is none.
 *
 * @throws OperationError `invalid`, with the field that is wrong; `unavailable`.
 */
export async function pinTemplate(asked: MicrovmSpec, templates: ReadyTemplates): Promise<MicrovmSpec> {
  const template = await find(asked, templates);
  const { spec } = template;
  if (asked.image !== '') throw invalid('image', "is the template's; leave it out");
  if (asked.cmdline !== '') throw invalid('cmdline', "is the template's; leave it out");
  for (const field of IN_MEMORY) {
    if (asked[field] !== undefined) throw invalid(field, "is the template's, whose memory holds it; leave it out");
  }
  for (const field of ['vcpus', 'memoryMiB'] as const) {
    if (asked[field] === spec[field] || asked[field] === DEFAULTS[field]) continue;
    throw invalid(field, `is ${spec[field]} in the template, and a clone has the same; leave it out`);
  }
  if (asked.network !== undefined && (asked.network === 'none') !== (wantedDevices(spec).network === undefined)) {
    throw invalid('network', 'a clone has a network device where its template has one, and else none');
  }
  const { image, vcpus, memoryMiB, cmdline } = spec;
  const devices = Object.fromEntries(
    DEVICES.flatMap((field) => (spec[field] === undefined ? [] : [[field, spec[field]]])),
  );
  const pinned = {
    ...devices,
    ...asked,
    ...disksOf(asked, template),
    ...{ image, vcpus, memoryMiB, cmdline },
    template: `${template.id}@${template.digest}`,
  };
  if (pinned.wakeOn?.includes('vsock') && !wantedDevices(pinned).vsock) {
    throw invalid('wakeOn', 'vsock needs a vsock device, which the template does not have; leave this out');
  }
  return pinned;
}

/** Those of the template, but for those that are asked for afresh where its guest uses none. */
function disksOf({ disks: asked }: MicrovmSpec, { spec, unusedDisks }: TemplateRecord): Pick<MicrovmSpec, 'disks'> {
  // What was fresh in its source is the template's now.
  const its = (spec.disks ?? []).map(({ fresh: _, ...disk }) => disk);
  if (asked === undefined) return spec.disks === undefined ? {} : { disks: its };
  if (asked.length !== its.length) {
    throw invalid(
      'disks',
      `the template has ${its.length}, and a clone has as many: list them all, or leave disks out`,
    );
  }
  return {
    disks: asked.map((disk, index) => diskOf(disk, its[index]!, unusedDisks.includes(index), `disks.${index}`)),
  };
}

function diskOf(asked: DataDisk, its: DataDisk, isUnused: boolean, path: string): DataDisk {
  if (asked.fresh === undefined) {
    if (asked.sizeMiB === its.sizeMiB && asked.mount === its.mount) return { ...its, ...asked };
    const mounted = its.mount === undefined ? '' : `, mounted at ${its.mount}`;
    throw invalid(
      path,
      `is one of ${its.sizeMiB} MiB${mounted} in the template; "fresh" asks for another one in its place`,
    );
  }
  if (!isUnused) {
    const why = 'the guest of the template uses this disk, and what its memory holds of it would not fit another one';
    throw invalid(`${path}.fresh`, why);
  }
  if (asked.mount !== undefined) {
    throw invalid(`${path}.mount`, 'what is mounted is in the memory of the template; mount it in the guest');
  }
  return asked;
}

async function find({ template: reference, tenant }: MicrovmSpec, templates: ReadyTemplates): Promise<TemplateRecord> {
  const { template: asked, digest } = parseTemplateReference(reference!);
  const byId = await templates.find(asked);
  const own = byId?.tenant === tenant ? byId : newestNamed(asked, tenant, templates);
  if (!own || own.state === 'deleted') throw invalid('template', `there is no template ${JSON.stringify(asked)}`);
  if (own.state !== 'ready') {
    throw invalid('template', `template ${asked} is ${own.state}${own.reason === null ? '' : `: ${own.reason}`}`);
  }
  if (digest !== undefined && digest !== own.digest) {
    throw invalid('template', `template ${asked} has the digest ${own.digest}`);
  }
  return own;
}

function newestNamed(name: string, tenant: string, templates: ReadyTemplates): TemplateRecord | undefined {
  return templates.list().findLast((one) => one.name === name && one.tenant === tenant && one.state === 'ready');
}

function invalid(path: string, message: string): OperationError {
  return new OperationError('invalid', `${path}: ${message}`, [{ path, message }]);
}
