import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What microVMs are limited by. `io` is called `blkio` in v1. */
export const CONTROLLERS = ['memory', 'cpu', 'pids', 'io'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** A mounted cgroup hierarchy as this process sees it. */
export interface Hierarchy {
  version: 1 | 2;
  /** v1: those it carries. v2: empty, what it offers differs from directory to directory. */
  controllers: Controller[];
  mount: string;
  /** Directory of the group this process is in. */
  own: string;
}

/** The hierarchies that could limit something; hosts with v1, v2 and both are all in use. Pure. */
export function parseHierarchies(mountinfo: string, ownGroups: string): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of mountinfo.split('\n')) {
    // 36 35 0:30 /root /mount options shared:1 - type source super-options
    const [before, after] = line.split(' - ');
    if (before === undefined || after === undefined) continue;
    const [type, , options = ''] = after.split(' ');
    const [, , , root, mount] = before.split(' ');
    if ((type !== 'cgroup' && type !== 'cgroup2') || root === undefined || mount === undefined) continue;
    const version = type === 'cgroup2' ? 2 : 1;
    const names = options.split(',').map((name) => (name === 'blkio' ? 'io' : name));
    const controllers = version === 2 ? [] : CONTROLLERS.filter((controller) => names.includes(controller));
    if (version === 1 && controllers.length === 0) continue;
    const group = groupIn(ownGroups, version, controllers);
    if (group === undefined || found.some((other) => other.mount === mount)) continue;
    const relative =
      group === root ? '/' : group.startsWith(root === '/' ? '/' : `${root}/`) ? group.slice(root.length) : '/';
    found.push({ version, controllers, mount, own: join(mount, root === '/' ? group : relative) });
  }
  return found;
}

/** The path in a line of /proc/self/cgroup: `4:memory:/a/b` or, for v2, `0::/a/b`. */
function groupIn(text: string, version: 1 | 2, controllers: readonly Controller[]): string | undefined {
  for (const line of text.split('\n')) {
    const match = /^(\d+):([^:]*):(.*)$/.exec(line);
    if (!match) continue;
    const names = match[2]!.split(',').map((name) => (name === 'blkio' ? 'io' : name));
    const fits = version === 2 ? match[1] === '0' && match[2] === '' : controllers.every((one) => names.includes(one));
    if (fits) return match[3];
  }
  return undefined;
}

export function hierarchiesHere(): Hierarchy[] {
  try {
    return parseHierarchies(
      readFileSync('/proc/self/mountinfo', 'latin1'),
      readFileSync('/proc/self/cgroup', 'latin1'),
    );
  } catch {
    return [];
  }
}
