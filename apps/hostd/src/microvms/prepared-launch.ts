import { closeSync } from 'node:fs';
import { VmmLaunchError, type LaunchSpec, type MicrovmProcess, type Shell, type ShellSpec } from '#microvm';
import { limitsOf } from '../cgroups/slot-limits';
import { largestFileBytes, planDisks, type PlannedDisk } from '../disks/disk-plan';
import type { IncarnationRecord } from '../journal/host-record';
import { ImageUnavailableError, type AgentContext } from './agent-context';
import { planLaunch, type LaunchPlan, type ReadyDisk } from './launch-plan';

/** A launch of which everything is ready that may take its time. */
export interface PreparedLaunch {
  /**
   * Sets the limits of its place. Returns how often the kernel has killed for memory there before.
   *
   * @throws CgroupError
   */
  limit(): number | undefined;
  /** Starts the VMM in its place, in a shell if one waits there. @throws VmmLaunchError */
  launch(directory: string): Promise<MicrovmProcess>;
}

type Parts = Pick<AgentContext, 'images' | 'disks' | 'slots' | 'cgroups' | 'driver' | 'clock' | 'dns'>;

/** Gets an incarnation's image, disks and place ready. Rejects with an error whose message is for the history. */
export async function prepareLaunch(
  parts: Parts,
  record: Readonly<IncarnationRecord>,
  signal: AbortSignal,
): Promise<PreparedLaunch> {
  const { microvmId, spec } = record;
  const { slots, cgroups } = parts;
  if (record.slot === undefined)
    throw new Error('it was granted by an older agent, which knew no slots; start it again');
  const slot = slots.slot(record.slot);
  const source = await resolveImage(parts, record, signal);
  const wanted = planDisks(spec, source.linux !== undefined);
  const ready = (plan: PlannedDisk): Promise<ReadyDisk> =>
    parts.disks.prepare(microvmId, plan).then((files) => ({ plan, files }));
  const [overlay, ...data] = await Promise.all([wanted.overlay && ready(wanted.overlay), ...wanted.data.map(ready)]);
  try {
    await slots.ready(slot);
  } catch (error) {
    throw new Error(`its network could not be made ready: ${(error as Error).message}`, { cause: error });
  }
  const { mtu } = slots;
  const plan = planLaunch({
    ...{ microvmId, spec, source, slot, data, dns: parts.dns, now: parts.clock.now() },
    ...(overlay ? { overlay } : {}),
    ...(mtu === undefined ? {} : { mtu }),
  });
  const fileBytes = largestFileBytes(wanted);
  let shellSpec: ShellSpec | undefined;
  return {
    limit: () => {
      // With this its cgroups are there.
      shellSpec = slots.shellSpec(slot, fileBytes);
      cgroups.limit(slot, limitsOf(spec));
      return cgroups.oomKills(slot);
    },
    launch: async (directory) => {
      const tap = plan.devices.some(({ type }) => type === 'net') ? await slots.openTap(slot) : undefined;
      try {
        const whole = { ...withTap(plan, tap), directory };
        const shell = slots.takeShell(slot, fileBytes);
        const launched = shell && (await launchInto(parts, whole, shell));
        return (
          launched ?? (await parts.driver.launch({ ...whole, shell: shellSpec ?? slots.shellSpec(slot, fileBytes) }))
        );
      } finally {
        // The VMM has its own.
        if (tap !== undefined) closeSync(tap);
      }
    },
  };
}

async function resolveImage({ images }: Parts, { spec }: Readonly<IncarnationRecord>, signal: AbortSignal) {
  try {
    return await images.resolve(spec, signal);
  } catch (error) {
    if (error instanceof ImageUnavailableError) throw error;
    throw new Error(`the image could not be made ready: ${(error as Error).message}`, { cause: error });
  }
}

/** Undefined when the shell had ended before it could be used; then nothing has happened yet. */
async function launchInto({ driver }: Parts, spec: LaunchSpec, shell: Shell): Promise<MicrovmProcess | undefined> {
  try {
    return await driver.launch(spec, shell);
  } catch (error) {
    shell.discard();
    if (error instanceof VmmLaunchError && error.code === 'ESRCH') return undefined;
    throw error;
  }
}

function withTap(plan: LaunchPlan, tap: number | undefined): Omit<LaunchSpec, 'directory'> {
  const { devices, ...rest } = plan;
  if (devices.length === 0) return rest;
  return { ...rest, devices: devices.map((device) => (device.type === 'net' ? { ...device, tapFd: tap! } : device)) };
}
