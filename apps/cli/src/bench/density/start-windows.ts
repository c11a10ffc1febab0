import type { Microvm } from '#protocol';
import { START_SPANS, spent } from '../../commands/microvm-timings';
import { distribution, round, type Distribution } from '../percentiles';
import type { UsagePoint } from './host-usage';

/** So many starts in a row, for the question whether they get dearer as a host fills. */
export interface StartWindow {
  /** The first and the last of them, counted from 1. */
  from: number;
  to: number;
  admissionToGuest: Distribution | null;
  wholePath: Distribution | null;
  perSecond: number | null;
  /**
   * CPU ms per microVM: of the whole `host`, of each process of the control plane and the agent, of the `vmms` of these microVMs, of the
   * `client`, and of all `others`: the kernel's own threads, and whatever else runs here and does not belong to the measurement.
   */
  cpuMsEach: Record<string, number> | null;
}

const ADMISSION = START_SPANS.find(({ name }) => name === 'admissionToGuest')!;
const WHOLE = START_SPANS.find(({ name }) => name === 'wholePath')!;

/** Latencies by the order of admission; CPU between the two readings of the host that lie at the window's ends, where there are such. */
export function startWindows(
  started: readonly Pick<Microvm, 'timings' | 'pid'>[],
  points: readonly UsagePoint[],
  size: number,
  vmmCpuMs: (pid: number) => number,
): StartWindow[] {
  const inOrder = started
    .filter(({ timings }) => timings.admittedAt !== undefined)
    .sort((a, b) => a.timings.admittedAt! - b.timings.admittedAt!);
  const windows: StartWindow[] = [];
  for (let at = 0; at < inOrder.length; at += size) {
    const part = inOrder.slice(at, at + size);
    const before = points.find(({ microvms }) => microvms === at);
    const after = points.find(({ microvms }) => microvms === at + size);
    const vmms = part.reduce((sum, { pid }) => sum + (pid === null ? 0 : vmmCpuMs(pid)), 0);
    windows.push({
      from: at + 1,
      to: at + part.length,
      admissionToGuest: distribution(part.flatMap(({ timings }) => spent(timings, ADMISSION) ?? [])) ?? null,
      wholePath: distribution(part.flatMap(({ timings }) => spent(timings, WHOLE) ?? [])) ?? null,
      perSecond: before && after ? round((size / (after.atMs - before.atMs)) * 1_000) : null,
      cpuMsEach: before && after ? cpuEach(before, after, size, vmms) : null,
    });
  }
  return windows;
}

function cpuEach(before: UsagePoint, after: UsagePoint, count: number, vmms: number): Record<string, number> {
  const host = after.busyMs - before.busyMs;
  const known = Object.entries(after.cpuMs).map(([name, ms]) => [name, ms - (before.cpuMs[name] ?? 0)] as const);
  const others = host - vmms - known.reduce((sum, [, ms]) => sum + ms, 0);
  return Object.fromEntries(
    [['host', host] as const, ...known, ['vmms', vmms] as const, ['others', others] as const].map(([name, ms]) => [
      name,
      round(ms / count),
    ]),
  );
}
