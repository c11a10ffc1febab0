import { hostname } from 'node:os';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { natsSettings } from '#bus';
import { DEFAULT_HOST_CLASS, HostClassName, HostClassSettings, HostId, VmmChoice } from '#protocol';
import { parseNetwork, sizeOf } from '../network/ipv4';

/** The repository or installation folder: what paths of built files start from. Same depth in source and build. */
const INSTALLATION = join(__dirname, '..', '..', '..', '..');
const ROOT = INSTALLATION.endsWith('/dist') ? join(INSTALLATION, '..') : INSTALLATION;

const count = z.coerce.number().int().positive();
const mebibytes = z.coerce.number().int().nonnegative();
const ratio = z.coerce.number().positive().max(10_000);

const words = z
  .string()
  .default('')
  .transform((text) => text.split(/[\s,]+/).filter((word) => word !== ''));
const networkOf = (text: string, context: z.RefinementCtx) => {
  const network = parseNetwork(text);
  if (!network) context.addIssue(`${JSON.stringify(text)} is not an IPv4 network such as 100.64.0.0/16`);
  return network ?? z.NEVER;
};

/** Settings of a host agent, each from a flag or from the environment: `--host-dir` or `VOLLEY_HOST_DIR`. */
export const AgentConfig = z.object({
  ...natsSettings,
  /** Default: made of the machine's name, and kept in the host directory. */
  hostId: HostId.optional(),
  /** Journal and identity; on a disk that survives a reboot. */
  hostDir: z.string().min(1).default('/var/lib/volley/host'),
  /** Where run folders go; must be a tmpfs. Default: /run/volley or /dev/shm. */
  runDir: z.string().optional(),
  slots: count.optional(),
  /** Memory of this machine that is there for microVMs and the agent, MiB; their cgroup holds microVMs to it. Default: all. */
  memoryMib: count.optional(),
  /** Class of this host: how far it is promised, and when its guards shut, is decided for all hosts of a class together. */
  hostClass: HostClassName.default(DEFAULT_HOST_CLASS),
  /** The class's policy, what may be guaranteed and its guards, as JSON; see docs/oversubscription.md. Default: the two ratios. */
  oversubscription: z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch (error) {
        context.addIssue(`is no JSON: ${(error as Error).message}`);
        return z.NEVER;
      }
    })
    .pipe(HostClassSettings)
    .optional(),
  /** Kept back for the host itself. */
  reserveMib: mebibytes.optional(),
  overcommitCpu: ratio.default(10),
  overcommitMemory: ratio.default(1.5),
  /** `stand-in`: no guest runs here, and no KVM is needed; for tests of everything around VMMs. */
  vmm: VmmChoice.default('kvm'),
  vmmPath: z.string().default(join(ROOT, 'native/build/vmm/volley-vmm')),
  standInPath: z.string().default(join(ROOT, 'native/build/stand-in/volley-vmm-stand-in')),
  canaryPath: z.string().default(join(ROOT, 'native/build/guest/canary.bin')),
  /** The canary with drivers, for canaries that ask for devices. */
  canaryDevicesPath: z.string().default(join(ROOT, 'native/build/guest/canary-devices.bin')),
  /** What the files of imported images may take on this host's disk, in the host directory. */
  imageCacheMib: count.default(20_480),
  /** What templates may take of this host's disk, in the host directory. */
  templateMib: count.default(20_480),
  /** `name=value` pairs, separated by commas. */
  labels: z
    .string()
    .default('')
    .transform((text, context) => {
      const labels: Record<string, string> = {};
      for (const pair of text.split(',').filter((part) => part !== '')) {
        const at = pair.indexOf('=');
        if (at < 1) context.addIssue(`${JSON.stringify(pair)} is not of the form name=value`);
        else labels[pair.slice(0, at)] = pair.slice(at + 1);
      }
      return labels;
    }),
  /** VMMs that are being started at the same time. Default: one per CPU. */
  launchesAtOnce: count.optional(),
  /** Processes that are being jailed at the same time, for the starts to come. Default: one for two CPUs. */
  shellsAtOnce: count.optional(),
  /** Jailed VMM processes kept ready for the starts to come. Default: two per CPU, at most 16. */
  warmShells: z.coerce.number().int().nonnegative().optional(),
  /** uid and gid of slot 0; slot n has this plus n. */
  uidBase: z.coerce.number().int().min(1_000).max(2_000_000_000).default(200_000),
  /** `best`: microVMs run behind the barriers that this host can put up. `strict`: behind all of them, or not at all. */
  jail: z.enum(['best', 'strict']).default('best'),
  /** `off`: microVMs are not limited by cgroups. */
  cgroups: z.enum(['auto', 'off']).default('auto'),
  /** `auto`: the kernel keeps CPU time for guaranteed vCPUs where it can. `off`: they live by their weights. */
  cpuReservations: z.enum(['auto', 'off']).default('auto'),
  /** `auto`: microVMs can have a network where the agent has the rights and tools. `off`: they cannot. */
  network: z.enum(['auto', 'off']).default('auto'),
  /** Where guests' addresses are from. */
  networkPool: z
    .string()
    .default('100.64.0.0/16')
    .transform(networkOf)
    .refine((pool) => sizeOf(pool) >= 4_096, 'must be a /20 or larger: each slot takes two addresses'),
  /** Networks that no microVM reaches, separated by commas. */
  networkBlocked: words.transform((texts, context) => texts.map((text) => networkOf(text, context))),
  /** Name servers of guests, separated by commas. Default: those of this host. */
  dns: words,
  bootDeadlineMs: count.default(10_000),
  reportIntervalMs: count.default(1_000),
  /** A microVM's memory is measured again no sooner than this. */
  sampleIntervalMs: count.default(2_000),
  /** One round of measuring takes no longer than this. */
  sampleBudgetMs: count.default(25),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});
export type AgentConfig = z.output<typeof AgentConfig>;

/** The most slots of a default: what has been shown to work on one host. */
const SLOTS_MAX = 4_096;
/** Host memory an idle microVM takes at least, the kernel's share included, MiB. */
const LEAST_COST_MIB = 1.25;
/** Descriptors the agent holds per microVM, and for itself. */
const FILES_EACH = 3;
const FILES_OWN = 256;

/** How many slots a host of this size offers when nobody says how many. */
export function defaultSlots(memoryMiB: number, reserveMiB: number, openFiles: number): number {
  const byMemory = Math.floor((memoryMiB - reserveMiB) / LEAST_COST_MIB);
  const byFiles = Math.floor((openFiles - FILES_OWN) / FILES_EACH);
  return Math.max(1, Math.min(SLOTS_MAX, byMemory, byFiles));
}

/** What a host keeps for itself when nobody says how much: a twentieth of its memory, at least 256 MiB and at most half. */
export function defaultReserveMiB(memoryMiB: number): number {
  return Math.min(Math.floor(memoryMiB / 2), Math.max(256, Math.ceil(memoryMiB / 20)));
}

/** How many files this process may open (hard limit; the agent raises its own to that). */
export function openFilesLimit(): number {
  const match = /^Max open files +\S+ +(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
  return match?.[1] === undefined || match[1] === 'unlimited' ? Infinity : Number(match[1]);
}

/** A host id made of the machine's name; `tail` keeps two machines of one name, or two agents on one machine, apart. */
export function hostIdFrom(tail: string, name = hostname()): string {
  const plain = name
    .split('.')[0]!
    .replace(/[^a-zA-Z0-9-]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return `${plain.slice(0, 40) || 'host'}-${tail}`;
}
