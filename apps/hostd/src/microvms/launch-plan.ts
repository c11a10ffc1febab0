import { initrdExtra, type GuestIdentity, type GuestMount } from '#guest';
import type { DeviceSpec, LaunchSpec, Limiter } from '#microvm';
import { wantedDevices, type MicrovmSpec, type RateLimit, type RunConfig } from '#protocol';
import type { PlannedDisk } from '../disks/disk-plan';
import type { DiskFiles } from '../disks/disks';
import type { Slot } from '../slots/slot-layout';
import { LINUX_CMDLINE, type BootSource } from './agent-context';

/** A disk and where its files are. */
export interface ReadyDisk {
  plan: PlannedDisk;
  files: DiskFiles;
}

export interface LaunchInputs {
  microvmId: string;
  spec: MicrovmSpec;
  source: BootSource;
  slot: Slot;
  overlay?: ReadyDisk;
  data: readonly ReadyDisk[];
  /** Folder of the snapshot that it goes on from, in place of booting. */
  restore?: string;
  /** It goes on from a template, with which its fresh disks have nothing to do. */
  isClone?: boolean;
  /** Of the guest's interface. */
  mtu?: number;
  /** Name servers of guests. */
  dns: readonly string[];
  /** Wall clock, ms since 1970. */
  now: number;
}

/** A device whose tap is not open yet. */
export type PlannedDevice = Exclude<DeviceSpec, { type: 'net' }> | Omit<Extract<DeviceSpec, { type: 'net' }>, 'tapFd'>;
export type LaunchPlan = Omit<LaunchSpec, 'directory' | 'devices' | 'shell'> & { devices: PlannedDevice[] };

/** How often a guest's balloon tells of its memory. Each time wakes the guest. */
const BALLOON_STATISTICS_MS = 10_000;

/** Everything of a launch that follows from the spec, its image and its place. Pure. @throws InitConfigError */
export function planLaunch(inputs: LaunchInputs): LaunchPlan {
  const { microvmId, spec, source } = inputs;
  const { cmdline: first = source.linux ? LINUX_CMDLINE : canaryWords(inputs), linux, ...boot } = source;
  const { bootProtocol, irqchip } = boot;
  return {
    id: microvmId,
    ...(inputs.restore === undefined ? boot : { bootProtocol, irqchip, restore: { directory: inputs.restore } }),
    vcpus: spec.vcpus,
    memoryMiB: spec.memoryMiB,
    cmdline: [first, spec.cmdline].filter((words) => words !== '').join(' '),
    devices: devicesOf(inputs),
    ...(linux && inputs.restore === undefined ? { initrdExtra: guestConfig(inputs, linux) } : {}),
    ...(spec.consoleLimit ? { consoleLimit: limiterOf(spec.consoleLimit) } : {}),
  };
}

/** A canary has no init that could be told its address: it reads it from its command line. */
function canaryWords({ spec, slot }: LaunchInputs): string {
  return wantedDevices(spec).network ? `net=${slot.address}/31,${slot.gateway}` : '';
}

/** In the order in which the guest finds them: disks, network, vsock, balloon, random numbers. */
function devicesOf({ spec, source, slot, overlay, data, mtu, isClone = false }: LaunchInputs): PlannedDevice[] {
  const wanted = wantedDevices(spec);
  const { receive, send } = spec.networkLimits ?? {};
  const root = source.linux?.root;
  return [
    ...(root
      ? [{ type: 'block' as const, path: root.path, sizeBytes: root.sizeBytes, readOnly: true, serial: 'image' }]
      : []),
    ...[...(overlay ? [overlay] : []), ...data].map((disk) => blockDevice(disk, isClone)),
    ...(wanted.network
      ? [
          {
            type: 'net' as const,
            mac: slot.mac,
            ...(mtu === undefined ? {} : { mtu }),
            ...(receive ? { receiveLimit: limiterOf(receive) } : {}),
            ...(send ? { sendLimit: limiterOf(send) } : {}),
          },
        ]
      : []),
    ...(wanted.vsock ? [{ type: 'vsock' as const }] : []),
    ...(wanted.balloon
      ? [{ type: 'balloon' as const, deflateOnOom: true, reporting: true, statisticsMs: BALLOON_STATISTICS_MS }]
      : []),
    ...(wanted.rng ? [{ type: 'rng' as const }] : []),
  ];
}

function blockDevice({ plan, files }: ReadyDisk, isClone: boolean): PlannedDevice {
  const { name: serial, limit, fresh } = plan;
  return {
    ...{ type: 'block', ...files, serial },
    ...(isClone && fresh ? { replaced: true } : {}),
    ...(limit ? { limit: limiterOf(limit) } : {}),
  };
}

/** What the guest's init is told. */
function guestConfig(inputs: LaunchInputs, { root, modules, run }: NonNullable<BootSource['linux']>): Uint8Array {
  const { spec, overlay, data, now } = inputs;
  const firstData = overlay ? 2 : 1;
  const mounts = data.flatMap(({ plan }, index): GuestMount[] =>
    plan.mount === undefined
      ? []
      : [{ device: deviceName(firstData + index), path: plan.mount, type: 'ext4', readOnly: false }],
  );
  const user = spec.user ?? run.user;
  const workdir = spec.workdir ?? run.workdir;
  return initrdExtra({
    root: { device: deviceName(0), type: root.type },
    ...(overlay ? { overlay: deviceName(1) } : {}),
    mounts,
    modules,
    args: argumentsOf(spec, run),
    env: environmentOf(spec, run),
    ...(user === '' ? {} : { user }),
    ...(workdir === '' ? {} : { workdir }),
    ...guestIdentity(inputs),
    time: now / 1000,
  });
}

/** Who a guest is: what differs in two clones of one template. */
export function guestIdentity(
  inputs: Pick<LaunchInputs, 'microvmId' | 'spec' | 'slot' | 'mtu' | 'dns'>,
): GuestIdentity {
  const { microvmId, spec, slot, mtu, dns } = inputs;
  const { mac, address, gateway } = slot;
  return {
    hostname: spec.hostname ?? hostnameOf(spec.name) ?? microvmId,
    ...(wantedDevices(spec).network
      ? { interfaces: [{ mac, address, prefix: 31, gateway, ...(mtu ? { mtu } : {}) }], dns }
      : {}),
  };
}

/** As in container engines: an entrypoint of one's own takes the image's command away with the image's entrypoint. */
function argumentsOf(spec: MicrovmSpec, run: RunConfig): string[] {
  const entrypoint = spec.entrypoint ?? run.entrypoint;
  const command = spec.command ?? (spec.entrypoint === undefined ? run.command : []);
  return [...entrypoint, ...command];
}

function environmentOf(spec: MicrovmSpec, run: RunConfig): string[] {
  const own = spec.env ?? {};
  const kept = run.env.filter((variable) => !Object.hasOwn(own, variable.slice(0, variable.indexOf('='))));
  return [...kept, ...Object.entries(own).map(([name, value]) => `${name}=${value}`)];
}

function hostnameOf(name: string | undefined): string | undefined {
  return name !== undefined && /^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(name) ? name : undefined;
}

/** Of a Linux guest's disk, by its place among all. */
export const deviceName = (index: number): string => `/dev/vd${String.fromCharCode('a'.charCodeAt(0) + index)}`;

const SECOND_MS = 1_000;

/** A limit per second, as buckets that refill in a second. */
export function limiterOf(limit: RateLimit): Limiter {
  const { bytesPerSecond, burstBytes, operationsPerSecond, burstOperations } = limit;
  const bucket = (size: number | undefined, burst: number | undefined) =>
    size === undefined ? undefined : { size, refillMs: SECOND_MS, ...(burst === undefined ? {} : { burst }) };
  const bytes = bucket(bytesPerSecond, burstBytes);
  const operations = bucket(operationsPerSecond, burstOperations);
  return { ...(bytes ? { bytes } : {}), ...(operations ? { operations } : {}) };
}
