import { closeSync } from 'node:fs';
import { VmmLaunchError, type LaunchSpec, type MicrovmProcess, type Shell, type ShellSpec } from '#microvm';
import { limitsOf } from '../cgroups/slot-limits';
import { parseTemplateReference } from '#protocol';
import { largestFileBytes, planDisks, type DiskPlan, type PlannedDisk } from '../disks/disk-plan';
import type { DiskFiles } from '../disks/disks';
import { cloneDisks, keptDisks } from '../snapshots/disk-copies';
import type { IncarnationRecord } from '../journal/host-record';
import type { HeldTemplate } from '../templates/template-store';
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

type Parts = Pick<
  AgentContext,
  | 'images'
  | 'templates'
  | 'workingSets'
  | 'suspensions'
  | 'snapshotObstacle'
  | 'disks'
  | 'slots'
  | 'cgroups'
  | 'driver'
  | 'clock'
  | 'dns'
>;

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
  const { overlay, data, restore, template } = await readyDisks(parts, record, wanted, signal);
  try {
    await slots.ready(slot);
  } catch (error) {
    throw new Error(`its network could not be made ready: ${(error as Error).message}`, { cause: error });
  }
  const { mtu } = slots.network;
  const plan = planLaunch({
    ...{ microvmId, spec, source, slot, data, dns: parts.dns, now: parts.clock.now() },
    ...(overlay ? { overlay } : {}),
    ...(restore === undefined ? {} : { restore }),
    isClone: template !== undefined,
    ...(mtu === undefined ? {} : { mtu }),
  });
  const fileBytes = largestFileBytes(wanted, spec.memoryMiB);
  let shellSpec: ShellSpec | undefined;
  return {
    limit: () => {
      // With this its cgroups are there.
      shellSpec = slots.shellSpec(slot, fileBytes);
      cgroups.limit(slot, limitsOf(spec));
      return cgroups.oomKills(slot);
    },
    launch: async (directory) => {
      const tap = plan.devices.some(({ type }) => type === 'net') ? await slots.network.openTap(slot) : undefined;
      try {
        const whole = { ...withTap(plan, tap), directory };
        const shell = slots.takeShell(slot, fileBytes, template);
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

interface ReadyDisks {
  overlay: ReadyDisk | undefined;
  data: ReadyDisk[];
  /** The folder of the snapshot that it goes on from. */
  restore?: string;
  /** Whose that folder is, should it be that of a template. */
  template?: HeldTemplate;
}

/** Its disks: kept from before it was suspended, its own copies of its template's, or as they are from start to start. */
async function readyDisks(
  parts: Parts,
  record: Readonly<IncarnationRecord>,
  wanted: DiskPlan,
  signal: AbortSignal,
): Promise<ReadyDisks> {
  const { microvmId, spec, restored } = record;
  const { disks } = parts;
  const plans = [...(wanted.overlay ? [wanted.overlay] : []), ...wanted.data];
  const arranged = (files: ReadonlyMap<string, DiskFiles>): Pick<ReadyDisks, 'overlay' | 'data'> => {
    const ready = (plan: PlannedDisk): ReadyDisk => ({ plan, files: files.get(plan.name)! });
    return { overlay: wanted.overlay && ready(wanted.overlay), data: wanted.data.map(ready) };
  };
  if (restored) {
    const restore = parts.suspensions.pathOf(microvmId);
    void parts.workingSets.readAheadOfResume(restore);
    await requireRestorable(parts, restore, 'what it was suspended to');
    return { ...arranged(keptDisks(plans, disks.folderOf(microvmId))), restore };
  }
  if (spec.template !== undefined) {
    const template = await parts.templates.use(spec.template, signal);
    const { folder } = template;
    void parts.workingSets.readAhead(template);
    await requireRestorable(parts, folder, `template ${parseTemplateReference(spec.template).template}`);
    const files =
      plans.length === 0 ? new Map<string, DiskFiles>() : await disksOfClone(disks, microvmId, plans, folder);
    return { ...arranged(files), restore: folder, template };
  }
  const made = await Promise.all(plans.map(async (plan) => [plan.name, await disks.prepare(microvmId, plan)] as const));
  return arranged(new Map(made));
}

/** Its own copies of its template's, and what it has in the place of others. @throws DiskError */
async function disksOfClone(
  disks: AgentContext['disks'],
  microvmId: string,
  plans: readonly PlannedDisk[],
  template: string,
): Promise<Map<string, DiskFiles>> {
  const folder = await disks.begin(microvmId);
  const files = await cloneDisks(
    plans.filter(({ fresh }) => !fresh),
    template,
    folder,
  );
  for (const plan of plans) if (plan.fresh) files.set(plan.name, await disks.prepare(microvmId, plan));
  return files;
}

/** @throws Error with a sentence for the history. */
async function requireRestorable({ snapshotObstacle }: Parts, folder: string, what: string): Promise<void> {
  const obstacle = await snapshotObstacle(folder);
  if (obstacle !== undefined) throw new Error(`${what} cannot be restored: ${obstacle}`);
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
