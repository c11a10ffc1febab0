import { z } from 'zod';
import { CronExpression } from './cron';
import { TenantId } from './ids';
import { Network } from './network';
import { PlacementRules } from './placement-rules';
import { RateLimit } from './rate-limit';
import { wantedDevices } from './wanted-devices';

/** Environment variable name. */
const EnvName = z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/, 'must be a variable name');
const Word = z
  .string()
  .max(4_096)
  .regex(/^[^\0]*$/, 'must not hold a NUL byte');
const MetadataKey = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/, 'must be 1..128 plain characters');

/** Values a guest can read while it runs; they can be changed while it runs. At most 64 KiB in all. */
export const Metadata = z
  .record(MetadataKey, z.string().max(32_768))
  .refine((all) => Object.entries(all).reduce((sum, [key, value]) => sum + key.length + value.length, 0) <= 65_536, {
    message: 'must not be larger than 64 KiB in all',
  });

/** A further disk: an empty one of this size, kept from start to start and deleted with the microVM. */
export const DataDisk = z.strictObject({
  sizeMiB: z.int().min(1).max(16_777_216),
  /** Where a Linux image mounts it, formatted as ext4; absent: it is there as a block device only. */
  mount: z
    .string()
    .max(255)
    .regex(/^\/[^:\0]*$/, 'must be an absolute path without a colon')
    .optional(),
  limit: RateLimit.optional(),
  /**
   * Of a clone: a disk of its own, with nothing on it or with an empty ext4 file system, in place of the one of its template. Only where the guest of
   * the template does not use that one.
   */
  fresh: z.enum(['empty', 'ext4']).optional(),
});
export type DataDisk = z.infer<typeof DataDisk>;

/** Bounds of the VMM process on its host, guest included. */
export const HostLimits = z.strictObject({
  /** Share of CPU under contention, relative to other microVMs (cgroup cpu.weight). Default: 100 for each vCPU. */
  cpuWeight: z.int().min(1).max(10_000).optional(),
  /** Most CPU time, in percent of one CPU. Default: 100 for each vCPU. */
  cpuPercent: z.int().min(1).max(12_800).optional(),
});

/** How long a guest may take to power off when neither its spec nor the stop says otherwise, in ms. */
const STOP_TIMEOUT_MS = 10_000;

/** How long the guest of this spec may take to power off, in ms. */
export function stopTimeoutMs({ stopTimeoutSeconds }: { stopTimeoutSeconds?: number | undefined }): number {
  return stopTimeoutSeconds === undefined ? STOP_TIMEOUT_MS : stopTimeoutSeconds * 1_000;
}

/**
 * Whose turn it is when a host cannot give everybody what it has promised. `guaranteed`: served first, and never ended to make room.
 * `bestEffort`: takes what the others leave; ended (`evicted`) when its host runs out of memory, and taken by its kernel before all others.
 */
export const MicrovmClass = z.enum(['guaranteed', 'bestEffort']);
export type MicrovmClass = z.infer<typeof MicrovmClass>;

/** The class of this spec. */
export function classOf({ class: asked }: { class?: MicrovmClass | undefined }): MicrovmClass {
  return asked ?? 'guaranteed';
}

/** Stops or suspends a microVM that nobody uses: so little CPU for so long, and nobody connected. Its host does it, also when it is on its own. */
export const IdleStop = z.strictObject({
  afterSeconds: z.int().min(5).max(31_536_000),
  /** Less than this, in percent of one CPU, VMM included, is idle. */
  cpuPercent: z.number().min(0.1).max(12_800).default(1),
  /** `suspend`: its memory goes to the disk of its host, and it goes on when it is resumed or somebody connects. Default: `stop`. */
  action: z.enum(['stop', 'suspend']).optional(),
});
export type IdleStop = z.output<typeof IdleStop>;

/** When it is started and stopped, in UTC. What an operator did in between holds until the next occurrence. */
export const Schedule = z
  .strictObject({ start: CronExpression.optional(), stop: CronExpression.optional() })
  .refine(({ start, stop }) => start !== undefined || stop !== undefined, 'must say when to start or when to stop');
export type Schedule = z.infer<typeof Schedule>;

/** What an operator asks for. Unknown fields are refused. */
export const MicrovmSpec = z
  .strictObject({
    /** For people; need not be unique. */
    name: z
      .string()
      .regex(
        /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/,
        "must be 1..63 letters, digits, '.', '_' or '-', starting with a letter or digit",
      )
      .optional(),
    /** Left out where there is a template, whose image it has. */
    image: z.string().max(255).default(''),
    /**
     * Starts as a clone of this template: its id, or the name of a ready one. Image, vCPUs, memory, devices and what runs in it are the
     * template's.
     */
    template: z
      .string()
      .regex(/^[a-z0-9][a-z0-9._-]{0,62}(@sha256:[0-9a-f]{64})?$/, 'must be the id or the name of a template')
      .optional(),
    vcpus: z.int().min(1).max(32).default(1),
    memoryMiB: z.int().min(2).max(1_048_576).default(128),
    /** Handed to the guest kernel as it is. */
    cmdline: z
      .string()
      .max(1900)
      .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
      .default(''),
    labels: z
      .record(
        z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,62}$/, 'must be 1..63 plain characters'),
        z.string().max(255),
      )
      .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels')
      .default({}),
    tenant: TenantId.default('default'),
    /** Default: `guaranteed`. */
    class: MicrovmClass.optional(),
    placement: PlacementRules.optional(),
    /** How long it may wait for a host that can take it; 0: it fails at once when there is none. Default: 30. */
    waitSeconds: z.int().min(0).max(86_400).optional(),
    /** `on-failure` starts it again after a panic, fault, kill or loss, and when its program failed; `always` also after the guest powered itself off. */
    restartPolicy: z.enum(['never', 'on-failure', 'always']).default('never'),
    /** What becomes of it when its host vanishes: `keep` waits for the host, `reschedule` starts a new incarnation elsewhere after the lease. */
    onHostLoss: z.enum(['keep', 'reschedule']).default('keep'),
    /** Starts by the restart policy in a row, at most; a run of ten minutes begins the count anew. Then it is `failed`. Absent: no bound. */
    maxRestarts: z.int().min(0).max(1_000_000).optional(),
    /** The microVM is deleted this long after its creation. Its host ends it on time even when it is on its own. */
    ttlSeconds: z.int().min(1).max(31_536_000).optional(),
    /** How long its guest may take to power off when it is stopped; a stop may say otherwise. Default: 10 s. */
    stopTimeoutSeconds: z.int().min(0).max(600).optional(),
    idleStop: IdleStop.optional(),
    /**
     * What lets it go on when it is suspended, besides commands, consoles and files over the API, which always do. `packet`: a TCP connection to, or a UDP
     * datagram for, a port of its host that its network hands on to it. `vsock`: a program of its host that connects to a vsock port of the guest.
     */
    wakeOn: z
      .array(z.enum(['packet', 'vsock']))
      .max(2)
      .refine((sources) => new Set(sources).size === sources.length, 'must not name one twice')
      .optional(),
    schedule: Schedule.optional(),
    /** Whatever would delete it is refused until the protection is lifted. */
    deleteProtection: z.boolean().optional(),

    // What a program in a Linux image runs as; absent: as the image says.
    entrypoint: z.array(Word).max(256).optional(),
    command: z.array(Word).max(256).optional(),
    /** Added to the image's environment. */
    env: z.record(EnvName, Word).optional(),
    user: z
      .string()
      .max(128)
      .regex(/^[^\0]+$/, 'must not hold a NUL byte')
      .optional(),
    workdir: z
      .string()
      .max(4_096)
      .regex(/^\/[^\0]*$/, 'must be an absolute path')
      .optional(),
    /** Default: its name, or its id. */
    hostname: z
      .string()
      .regex(/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/, "must be 1..63 letters, digits or '-'")
      .optional(),
    metadata: Metadata.optional(),

    // Devices. The canary has only those that are asked for here.
    /** The writable layer over a Linux image's root file system; it is kept from start to start. */
    rootDiskMiB: z.int().min(16).max(16_777_216).optional(),
    rootLimit: RateLimit.optional(),
    disks: z.array(DataDisk).max(8).optional(),
    /** `none`: no network device. Default: `{}` (open) for a Linux image, `none` for the canary. */
    network: z.union([z.literal('none'), Network]).optional(),
    /** Towards the guest, and from the guest. */
    networkLimits: z.strictObject({ receive: RateLimit.optional(), send: RateLimit.optional() }).optional(),
    /** Whether vsock, balloon and random number devices are there. Default: true for a Linux image, false for the canary. */
    vsock: z.boolean().optional(),
    balloon: z.boolean().optional(),
    rng: z.boolean().optional(),
    /** Output of the serial console beyond this is dropped. */
    consoleLimit: RateLimit.optional(),
    limits: HostLimits.optional(),
  })
  .superRefine(({ disks = [], template }, context) => {
    for (const [index, { fresh }] of disks.entries()) {
      if (fresh === undefined || template !== undefined) continue;
      const message = 'is for clones, whose disks are else those of their template; every other disk is an empty one';
      context.addIssue({ code: 'custom', path: ['disks', index, 'fresh'], message });
    }
  })
  .superRefine(({ image, template }, context) => {
    if (image !== '' || template !== undefined) return;
    context.addIssue({ code: 'custom', path: ['image'], message: 'must be there, unless there is a template' });
  })
  .superRefine((spec, context) => {
    // Of a clone it is known once its spec has been made whole with that of its template.
    if (spec.image === '' || !spec.wakeOn?.includes('vsock') || wantedDevices(spec).vsock) return;
    const message = 'vsock needs a vsock device, which it does not have: set vsock to true, or leave this out';
    context.addIssue({ code: 'custom', path: ['wakeOn'], message });
  });
/** A spec as a client sends it: defaults may be missing. */
export type MicrovmSpecInput = z.input<typeof MicrovmSpec>;
export type MicrovmSpec = z.output<typeof MicrovmSpec>;
