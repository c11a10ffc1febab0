import type { GuestHold } from '#guest';
import type { MicrovmProcess, SnapshotCopy } from '#microvm';
import { bootsLinux } from '#protocol';
import { planDisks, type PlannedDisk } from '../disks/disk-plan';
import { copyDisks } from '../snapshots/disk-copies';
import { templateOf } from '../templates/template-of';
import type { AgentContext } from './agent-context';
import { deviceName } from './launch-plan';
import { agentOf } from './linux-guest';
import type { LiveIncarnation } from './live-incarnation';

const MIB = 1024 * 1024;
/** What a snapshot takes beside memory and disks: state and manifest. */
const MORE_BYTES = 8 * MIB;
const NS_PER_MS = 1e6;
/** Disks of a Linux guest ahead of its data disks: its image, and the writable layer over it. */
const LINUX_DATA_DISKS = 2;
/** For the programs of a guest to come to rest. */
const HOLD_MS = 20_000;

/** How long a snapshot may take on this host: less than the controllers wait for it. */
const deadlineMs = (memoryMiB: number): number => 50_000 + memoryMiB * 40;

/**
 * A job: makes a template of a microVM, which goes on as it was before. Never rejects; the outcome is a fact. Done again after a
 * crash in between, it gives the same.
 */
export async function takeTemplate(
  context: AgentContext,
  live: LiveIncarnation,
  commandId: string,
  templateId: string,
): Promise<void> {
  const { chronicle, facts, templates, platform, disks } = context;
  const { record } = live;
  const { microvmId, epoch, spec } = record;
  const done = { microvmId, epoch, commandId };
  const as = record.phase === 'paused' ? 'paused' : 'running';
  try {
    const vmm = bootedProcess(live);
    if (!platform) throw new Error('this host takes no snapshots');
    let held = templates.get(templateId);
    let copied: { copy?: SnapshotCopy } = {};
    if (!held) {
      if (as === 'paused' && bootsLinux(spec)) {
        throw new Error('it is paused, and its programs cannot be held while clones are made of it; resume it first');
      }
      const draft = await templates.begin(templateId, spec.memoryMiB * MIB + MORE_BYTES);
      const heldAt = performance.now();
      const hold = await holdPrograms(live, as);
      let written: Written;
      try {
        written = await write(vmm, draft, {
          memoryMiB: spec.memoryMiB,
          disks: disksOf(context, live),
          diskFolder: disks.folderOf(microvmId),
          goesOn: as === 'running',
          isUnused: unusedDisksOf(context, live, hold),
        });
      } finally {
        const released = hold?.release();
        // One that stands still hears of it when it goes on.
        if (live.doing === 'running') await released;
      }
      copied = { copy: written.copy };
      // Held programs stand still all the while, also where the guest's kernel does not.
      const pauseMs = hold ? performance.now() - heldAt : written.pauseMs;
      const { unusedDisks } = written;
      held = await templates.complete(templateId, draft, {
        ...{ spec, platform, pauseMs },
        ...(unusedDisks.length > 0 ? { unusedDisks } : {}),
      });
    }
    const { digest, bytes, manifest } = held;
    const { pauseMs, unusedDisks } = manifest;
    const fact = facts.snapshotTaken(record, commandId, {
      ...{ templateId, digest, bytes, pauseMs, platform, as },
      ...copied,
      ...(unusedDisks ? { unusedDisks } : {}),
    });
    chronicle.record({ done, facts: [fact] });
  } catch (error) {
    await templates.abandon(templateId);
    await goOn(live, as);
    if (live.isOver) return; // the end was told
    const fact = facts.commandFailed(record, 'snapshot', commandId, (error as Error).message);
    chronicle.record({ done, facts: [fact] });
  }
}

/**
 * A job: puts the memory of a microVM on the disk, then ends its process and gives its place back. Never rejects; the outcome is a
 * fact.
 */
export async function suspend(
  context: AgentContext,
  live: LiveIncarnation,
  commandId: string,
  reason: string | undefined,
): Promise<void> {
  const { chronicle, facts, suspensions, templates, workingSets } = context;
  const { record } = live;
  const { microvmId, epoch, spec } = record;
  const done = { microvmId, epoch, commandId };
  const as = record.phase === 'paused' ? 'paused' : 'running';
  // Suspended by an order before this one, whose memory must stay; or ended, which was told.
  if (record.phase === 'suspended' || live.isOver) return;
  let hold: GuestHold | undefined;
  try {
    const vmm = bootedProcess(live);
    const draft = await suspensions.begin(microvmId, spec.memoryMiB * MIB + MORE_BYTES);
    const heldAt = performance.now();
    hold = await holdPrograms(live, as);
    const options = { live: true, resume: false };
    const { pauseNs, bytes, copy } = await vmm.snapshot(draft, options, deadlineMs(spec.memoryMiB));
    const pauseMs = hold ? performance.now() - heldAt : pauseNs / NS_PER_MS;
    const template = templateOf(spec);
    await workingSets.leave(draft, vmm, template === undefined ? undefined : templates.get(template));
    await suspensions.keep(microvmId);
    // From here on it is suspended, whatever becomes of the process.
    if (live.isEnding) throw new Error('it was told to end meanwhile');
    live.leaveSuspended(facts.suspended(record, commandId, { bytes, pauseMs, copy, reason }));
  } catch (error) {
    await suspensions.abandon(microvmId);
    await suspensions.remove(microvmId);
    await goOn(live, as);
    if (live.isOver) return; // the end was told
    const fact = facts.commandFailed(record, 'suspend', commandId, (error as Error).message);
    chronicle.record({ done, facts: [fact] });
  } finally {
    void hold?.release();
  }
}

/**
 * Has the programs of a Linux guest stand still, so that in what goes on from its snapshot none of them runs before init has been told who
 * the guest is. One that is paused is asked nothing.
 */
async function holdPrograms(live: LiveIncarnation, as: 'running' | 'paused'): Promise<GuestHold | undefined> {
  const agent = agentOf(bootedProcess(live), live.record.spec);
  if (!agent || as === 'paused') return undefined;
  // An earlier agent may have ended while it stood still for the same snapshot.
  await goOn(live, as);
  return agent.hold(HOLD_MS);
}

function bootedProcess(live: LiveIncarnation): MicrovmProcess {
  const { process } = live;
  if (!process || live.doing === 'starting') throw new Error('it has not booted');
  return process;
}

function disksOf(context: AgentContext, { record: { microvmId, spec } }: LiveIncarnation): PlannedDisk[] {
  // Whether it boots Linux tells the disk that it has for that.
  const { overlay, data } = planDisks(spec, context.disks.has(microvmId, 'root'));
  return [...(overlay ? [overlay] : []), ...data];
}

/**
 * Tells of each data disk, by its place among them, whether the guest uses it. A Linux guest's init knows; of another guest it is used as soon as the
 * guest has had it do anything.
 */
function unusedDisksOf(
  { templates }: AgentContext,
  live: LiveIncarnation,
  hold: GuestHold | undefined,
): (index: number) => boolean {
  const { spec, restored } = live.record;
  if (hold) {
    const unused = new Set(hold.unusedDisks);
    return (index) => unused.has(deviceName(LINUX_DATA_DISKS + index).replace('/dev/', ''));
  }
  // Its VMM counts from its own start on.
  if (bootsLinux(spec) || restored) return () => false;
  const template = templateOf(spec);
  const before = template === undefined ? undefined : (templates.get(template)?.manifest.unusedDisks ?? []);
  const { devices } = bootedProcess(live).stats();
  return (index) => {
    const work = devices[index];
    if (!work || before?.includes(index) === false) return false;
    return work.reads + work.writes + work.flushes + work.errors + work.interrupts === 0;
  };
}

interface Written {
  /** For how long the guest stood still. */
  pauseMs: number;
  copy: SnapshotCopy;
  /** Data disks that it does not use, by their place among them. */
  unusedDisks: number[];
}

interface Writing {
  memoryMiB: number;
  disks: readonly PlannedDisk[];
  diskFolder: string;
  goesOn: boolean;
  isUnused: (index: number) => boolean;
}

/** Writes memory, state and disks as of one instant: memory while the guest runs. Gives for how long it stood still. */
async function write(
  vmm: MicrovmProcess,
  draft: string,
  { memoryMiB, disks, diskFolder, goesOn, isUnused }: Writing,
): Promise<Written> {
  const deadline = deadlineMs(memoryMiB);
  if (disks.length === 0) {
    const { pauseNs, copy } = await vmm.snapshot(draft, { live: true, resume: goesOn }, deadline);
    return { pauseMs: pauseNs / NS_PER_MS, copy, unusedDisks: [] };
  }
  // Disks are copied while nobody writes to them.
  const { pauseNs, copy } = await vmm.snapshot(draft, { live: true, resume: false }, deadline);
  const writtenAt = performance.now();
  await copyDisks(disks, diskFolder, draft);
  const unusedDisks = disks
    .filter(({ name }) => name !== 'root')
    .flatMap((_, index) => (isUnused(index) ? [index] : []));
  if (goesOn) await vmm.resume();
  return { pauseMs: pauseNs / NS_PER_MS + (performance.now() - writtenAt), copy, unusedDisks };
}

/** Whatever went wrong, the guest does not stand still because of it. */
async function goOn(live: LiveIncarnation, as: 'running' | 'paused'): Promise<void> {
  if (live.isOver || as === 'paused' || live.doing !== 'paused') return;
  await live.process?.resume().catch(() => undefined);
}
