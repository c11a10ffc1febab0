import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ControlGroup } from '#density';
import type { Slot } from '../slots/slot-layout';
import { CONTROLLERS, hierarchiesHere, type Controller, type Hierarchy } from './hierarchies';
import { filesOf, limitsOf, weightOfAll, type SlotLimits } from './slot-limits';

/** Thrown when a limit cannot be set: a microVM must not run without it. */
export class CgroupError extends Error {
  override readonly name = 'CgroupError';
}

interface Placed extends Hierarchy {
  /** The agent's own directory there. */
  directory: string;
  /** What the directories of slots begin with: they lie in the agent's own, or beside it. */
  slots: string;
  /** Which of the files that limit a slot this kernel has there. */
  files: ReadonlySet<string>;
}

export interface CgroupsParts {
  /** Of the agent; its directories are called `volley-NAME`. */
  name: string;
  log: Logger;
  hierarchies?: Hierarchy[];
}

/**
 * A cgroup for each slot in every hierarchy that limits something, v1 or v2, controller by controller. Limits are written only
 * where they differ from what the slot had. What a host cannot limit is said, and not fatal.
 */
export class Cgroups {
  readonly missing: { controller: Controller; reason: string }[] = [];
  readonly #placed: Placed[] = [];
  readonly #written = new Map<number, string>();
  #bounded = false;

  private constructor(private readonly parts: CgroupsParts) {}

  static open(parts: CgroupsParts): Cgroups {
    const cgroups = new Cgroups(parts);
    cgroups.#place(parts.hierarchies ?? hierarchiesHere());
    cgroups.#weigh();
    for (const one of cgroups.missing) parts.log.warn(one, 'microVMs cannot be limited by this controller');
    return cgroups;
  }

  /** What microVMs are limited by. */
  get controllers(): Controller[] {
    return this.#placed.flatMap(({ controllers }) => controllers);
  }

  #place(hierarchies: readonly Hierarchy[]): void {
    let wanted: Controller[] = [...CONTROLLERS];
    const reasons = new Map<Controller, string>();
    for (const hierarchy of hierarchies.filter(({ version }) => version === 1)) {
      // In v1 groups may hold both processes and groups, so ours go below the agent's: what limits the agent limits them, too.
      const directory = join(hierarchy.own, this.#directoryName);
      try {
        mkdirSync(directory, { recursive: true, mode: 0o755 });
        const { wanted: names, files } = filesAt(hierarchy, directory);
        // Groups that limit nothing cost every start a move, and the host memory.
        if (files.size === 0) {
          const reason = `this kernel has none of ${names.join(', ')}`;
          for (const controller of hierarchy.controllers) reasons.set(controller, reason);
          removeGroup(directory);
          continue;
        }
        this.#placed.push({ ...hierarchy, directory, slots: slotsOf(hierarchy, directory), files });
        wanted = wanted.filter((controller) => !hierarchy.controllers.includes(controller));
      } catch (error) {
        for (const controller of hierarchy.controllers) reasons.set(controller, `${directory}: ${codeOf(error)}`);
      }
    }
    const unified = hierarchies.find(({ version }) => version === 2);
    if (unified && wanted.length > 0) {
      const placed = this.#placeUnified(unified, wanted);
      if (placed) {
        this.#placed.push(placed);
        wanted = wanted.filter((controller) => !placed.controllers.includes(controller));
      }
    }
    for (const controller of wanted) {
      const reason = reasons.get(controller) ?? 'no cgroup hierarchy offers it to this agent';
      this.missing.push({ controller, reason });
    }
  }

  /** Where all microVMs together have a group, too, they would have the weight of a single process of the host without this. */
  #weigh(): void {
    const placed = this.#placed.find(({ controllers }) => controllers.includes('cpu'));
    if (!placed || areBeside(placed)) return;
    const { name, value } = weightOfAll(placed.version, cpus().length);
    try {
      writeFileSync(join(placed.directory, name), value);
    } catch (error) {
      this.parts.log.warn({ reason: codeOf(error) }, 'microVMs share the CPU weight of one process of this host');
    }
  }

  get #directoryName(): string {
    return `volley-${this.parts.name}`;
  }

  /**
   * In v2 a group holds processes or groups. Below the root, where that is ours to use: under the agent's own group, microVMs that
   * outlive it would keep a service manager from starting the next agent there. Else below its own, if the agent can move aside.
   */
  #placeUnified(hierarchy: Hierarchy, wanted: readonly Controller[]): Placed | undefined {
    for (const parent of new Set([hierarchy.mount, hierarchy.own])) {
      const offered = wordsOf(join(parent, 'cgroup.controllers'));
      const possible = wanted.filter((controller) => offered.includes(controller));
      if (possible.length === 0) continue;
      moveAside(parent);
      const directory = join(parent, this.#directoryName);
      try {
        mkdirSync(directory, { recursive: true, mode: 0o755 });
      } catch {
        continue;
      }
      const controllers = possible.filter((controller) => enable(parent, controller) && enable(directory, controller));
      const { files } = filesAt({ version: 2, controllers }, directory);
      if (controllers.length > 0) return { ...hierarchy, controllers, directory, slots: `${directory}/`, files };
    }
    return undefined;
  }

  /**
   * Bounds the memory of all slots together, so that what microVMs take is what the host lends them, and not more. False: no memory
   * controller takes it.
   */
  bound(memoryBytes: number): boolean {
    const placed = this.#memoryGroup();
    if (!placed) return false;
    try {
      writeFileSync(placed.limitFile, String(memoryBytes));
      this.#bounded = true;
      return true;
    } catch {
      return false;
    }
  }

  /** Of what all slots together may take: how much is left; undefined where they are not bounded. */
  memory(): { limitBytes: number; availableBytes: number } | undefined {
    const placed = this.#bounded ? this.#memoryGroup() : undefined;
    if (!placed) return undefined;
    try {
      const limitBytes = Number(readFileSync(placed.limitFile, 'latin1'));
      const used = Number(readFileSync(placed.usageFile, 'latin1'));
      // The kernel drops what files have left here before it lacks anything.
      const stat = readFileSync(placed.statFile, 'latin1');
      // In v1 only what begins with total_ contains the groups below.
      const files = /^total_inactive_file (\d+)/m.exec(stat) ?? /^inactive_file (\d+)/m.exec(stat);
      const dropped = Number(files?.[1] ?? 0);
      return { limitBytes, availableBytes: Math.max(0, limitBytes - used + dropped) };
    } catch {
      return undefined;
    }
  }

  /** Bytes that the process of a slot holds, what the kernel keeps for it included; undefined where nobody counts. */
  heldBytes(slot: Pick<Slot, 'cgroup'>): number | undefined {
    const group = this.#memoryGroup(slot.cgroup);
    const text = group && textOf(group.usageFile);
    return text === undefined ? undefined : Number(text);
  }

  #memoryGroup(slot?: string): { limitFile: string; usageFile: string; statFile: string } | undefined {
    const placed = this.#placed.find(({ controllers }) => controllers.includes('memory'));
    if (!placed) return undefined;
    const directory = slot === undefined ? placed.directory : placed.slots + slot;
    const names =
      placed.version === 1 ? ['memory.limit_in_bytes', 'memory.usage_in_bytes'] : ['memory.max', 'memory.current'];
    const [limitFile, usageFile, statFile] = [...names, 'memory.stat'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    return { limitFile, usageFile, statFile };
  }

  /** Directories of a slot, made where they are not there yet, for a process to be put into. @throws CgroupError */
  pathsOf(slot: Slot): string[] {
    return this.#placed.map(({ slots }) => {
      const path = slots + slot.cgroup;
      if (existsSync(path)) return path; // the usual case, and an error would cost a start ten times as much
      try {
        mkdirSync(path, { mode: 0o755 });
        this.#written.delete(slot.number);
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw new CgroupError(`the cgroup ${path} cannot be made: ${codeOf(error)}`);
      }
      return path;
    });
  }

  /** Sets a slot's limits, where they differ from those that it has. @throws CgroupError */
  limit(slot: Slot, limits: SlotLimits): void {
    const wanted = JSON.stringify(limits);
    if (this.#written.get(slot.number) === wanted) return;
    this.#written.delete(slot.number);
    for (const placed of this.#placed) {
      const { version, controllers } = placed;
      for (const { name, value, optional, costly } of filesOf(version, controllers, limits, areBeside(placed))) {
        const path = join(placed.slots + slot.cgroup, name);
        if (optional && !placed.files.has(name)) continue;
        if (costly && textOf(path)?.trim() === value) continue;
        try {
          writeLimit(path, value, () => version === 2 && this.#enableAgain());
        } catch (error) {
          throw new CgroupError(`${path} does not take ${value}: ${codeOf(error)}`);
        }
      }
    }
    this.#written.set(slot.number, wanted);
  }

  /** A service manager may have taken controllers away that none of its own services needs. */
  #enableAgain(): boolean {
    for (const { version, controllers, directory } of this.#placed) {
      if (version === 1) continue;
      for (const controller of controllers) {
        if (!enable(join(directory, '..'), controller) || !enable(directory, controller)) return false;
      }
    }
    return true;
  }

  /** Where the kernel counts for all microVMs of this agent, or for those of one slot. */
  groupOf(slot?: Slot): ControlGroup {
    const group: ControlGroup = {};
    for (const controller of ['memory', 'cpu'] as const) {
      const placed = this.#placed.find(({ controllers }) => controllers.includes(controller));
      if (!placed) continue;
      const directory = slot ? placed.slots + slot.cgroup : placed.directory;
      group[controller] = { version: placed.version, directory };
    }
    return group;
  }

  /** How often the kernel has ended a process of this slot because its memory was used up; undefined where it does not say. */
  oomKills(slot: Slot): number | undefined {
    const placed = this.#placed.find(({ controllers }) => controllers.includes('memory'));
    if (!placed) return undefined;
    const file = placed.version === 1 ? 'memory.oom_control' : 'memory.events';
    try {
      const text = readFileSync(join(placed.slots + slot.cgroup, file), 'latin1');
      return Number(/^oom_kill (\d+)/m.exec(text)?.[1] ?? Number.NaN);
    } catch {
      return undefined;
    }
  }

  /** Processes in a slot's cgroups: none, when it is free. */
  processesOf(slot: Pick<Slot, 'cgroup'>): number[] {
    const pids = this.#placed.flatMap(({ slots }) => wordsOf(join(slots + slot.cgroup, 'cgroup.procs')).map(Number));
    return [...new Set(pids)];
  }

  /** Names of the slots' cgroups that are there. */
  list(): string[] {
    return [...new Set(this.#placed.flatMap(({ slots }) => groupsAt(slots)))];
  }

  /** Removes a slot's cgroups; those with processes in them stay. */
  remove(slot: Pick<Slot, 'cgroup' | 'number'>): void {
    this.#written.delete(slot.number);
    for (const { slots } of this.#placed) removeGroup(slots + slot.cgroup);
  }

  /** Removes all that is empty: for an agent that leaves no microVM behind. */
  close(): void {
    this.destroyOf(this.parts.name);
  }

  /** Removes what an agent of this name left here, as far as no process lives in it. Returns whether nothing is left. */
  destroyOf(name: string): boolean {
    let isGone = true;
    for (const placed of this.#placed) {
      const directory = join(placed.directory, '..', `volley-${name}`);
      // Those inside too: an agent of before put all of them there.
      for (const slots of new Set([`${directory}/`, slotsOf(placed, directory)])) {
        for (const group of groupsAt(slots)) removeGroup(slots + group);
        isGone &&= groupsAt(slots).length === 0;
      }
      removeGroup(directory);
      isGone &&= !existsSync(directory);
    }
    if (name === this.parts.name) this.#written.clear();
    return isGone;
  }
}

/**
 * In v1 each hierarchy is a tree of its own. In that of the CPU the slots lie beside the agent's group, not in it: there each microVM is
 * weighed against the processes of the host by its own class. In a common group best effort would run at the weight of the guaranteed,
 * and what it has used would be held against them when they wake up.
 */
function slotsOf({ version, controllers }: Hierarchy, directory: string): string {
  const isForCpu = version === 1 && controllers.length === 1 && controllers[0] === 'cpu';
  return isForCpu ? `${directory}.` : `${directory}/`;
}

const areBeside = ({ slots }: Placed): boolean => slots.endsWith('.');

/** Names of the files that limit a slot in this hierarchy, and those of them that a group has there. */
function filesAt(
  { version, controllers }: Pick<Hierarchy, 'version' | 'controllers'>,
  directory: string,
): { wanted: string[]; files: Set<string> } {
  const wanted = filesOf(version, controllers, limitsOf({ memoryMiB: 1, vcpus: 1 })).map(({ name }) => name);
  return { wanted, files: new Set(wanted.filter((name) => existsSync(join(directory, name)))) };
}

function writeLimit(path: string, value: string, makeSure: () => boolean): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || !makeSure()) throw error;
    writeFileSync(path, value);
  }
}

/** Lets groups be made below the agent's own: a group that holds a process must not hold others. */
function moveAside(parent: string): void {
  const inside = wordsOf(join(parent, 'cgroup.procs'));
  if (inside.length !== 1 || inside[0] !== String(process.pid)) return;
  try {
    mkdirSync(join(parent, 'agent'), { recursive: true });
    writeFileSync(join(parent, 'agent', 'cgroup.procs'), String(process.pid));
  } catch {
    // Then it cannot be done here; what follows finds out.
  }
}

function enable(directory: string, controller: Controller): boolean {
  try {
    writeFileSync(join(directory, 'cgroup.subtree_control'), `+${controller}`);
    return true;
  } catch {
    return false;
  }
}

/** What follows `prefix`, the directory with what the names there begin with. */
function groupsAt(prefix: string): string[] {
  const end = prefix.lastIndexOf('/') + 1;
  const begin = prefix.slice(end);
  try {
    return readdirSync(prefix.slice(0, end), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name.startsWith(begin))
      .map(({ name }) => name.slice(begin.length));
  } catch {
    return [];
  }
}

function removeGroup(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Gone already, or somebody lives in it.
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

const wordsOf = (path: string): string[] => (textOf(path) ?? '').split(/\s+/).filter((word) => word !== '');

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? (error as Error).message;
