import { VmmLaunchError } from './errors';
import type { ShellSpec } from './microvm-driver';
import { defaultShellSpec, toShellOrder } from './shell-spec';

const good: ShellSpec = { barriers: ['mounts', 'seccomp'], uid: 1, gid: 2, openFiles: 64, fileBytes: 0 };

describe('toShellOrder', () => {
  it('translates a spec', () => {
    expect(toShellOrder({ ...good, cgroupPaths: ['/c/../d'] })).toEqual({
      barriers: 0x401,
      uid: 1,
      gid: 2,
      openFiles: 64,
      fileBytes: 0,
      cgroupPaths: ['/d'],
    });
  });

  it('has a default that needs no rights', () => {
    expect(toShellOrder(defaultShellSpec())).toMatchObject({ barriers: 0x700, uid: process.getuid!() });
  });

  it.each([
    ['barriers', ['walls']],
    ['barriers', undefined],
    ['uid', -1],
    ['uid', 0xffff_ffff],
    ['gid', 1.5],
    ['openFiles', 3],
    ['fileBytes', -1],
    ['fileBytes', Infinity],
    ['cgroupPaths', ['']],
    ['cgroupPaths', '/c'],
  ])('refuses %s = %p, naming it', (field, value) => {
    const refused = () => toShellOrder({ ...good, [field]: value } as ShellSpec);
    expect(refused).toThrow(VmmLaunchError);
    expect(refused).toThrow(`shell.${field}`);
  });
});
