import { VmmLaunchError } from './errors';
import { toLaunchOrder } from './launch-spec';
import type { LaunchSpec } from './microvm-driver';

const good: LaunchSpec = {
  id: '01j8z',
  directory: '/run/x',
  kernelPath: '/boot/kernel',
  bootProtocol: 'linux',
  irqchip: 'full',
  vcpus: 32,
  memoryMiB: 2,
  cmdline: 'console=ttyS0',
};

describe('toLaunchOrder', () => {
  it('translates a spec', () => {
    expect(toLaunchOrder({ ...good, initrdPath: '/i', initrdExtra: Uint8Array.of(1) })).toEqual({
      id: '01j8z',
      directory: '/run/x',
      kernelPath: '/boot/kernel',
      initrdPath: '/i',
      initrdExtra: Uint8Array.of(1),
      bootProtocol: 2,
      irqchip: 2,
      vcpus: 32,
      memoryBytes: 2 * 1024 * 1024,
      cmdline: 'console=ttyS0',
      devices: [],
      consoleLimit: [0, 0, 0, 0, 0, 0],
    });
  });

  it.each([
    ['id', ''],
    ['id', 'x'.repeat(64)],
    ['id', 'a b'],
    ['id', 'a\0b'],
    ['id', 'é'],
    ['directory', ''],
    ['kernelPath', 'a\0b'],
    ['initrdPath', ''],
    ['initrdExtra', 'text'],
    ['consoleLimit', { bytes: { size: 1 } }],
    ['consoleLimit', { operations: { size: 1, burst: -1, refillMs: 1 } }],
    ['bootProtocol', 'elf'],
    ['bootProtocol', 'toString'],
    ['irqchip', 'none'],
    ['vcpus', 0],
    ['vcpus', 33],
    ['vcpus', 1.5],
    ['vcpus', NaN],
    ['vcpus', '1'],
    ['memoryMiB', 1],
    ['memoryMiB', 2.5],
    ['memoryMiB', 2 ** 40],
    ['memoryMiB', Infinity],
    ['cmdline', 'x'.repeat(2048)],
    ['cmdline', 'a\nb'],
    ['cmdline', undefined],
  ])('refuses %s = %p, naming it', (field, value) => {
    const spec = { ...good, [field]: value } as LaunchSpec;
    expect(() => toLaunchOrder(spec)).toThrow(VmmLaunchError);
    expect(() => toLaunchOrder(spec)).toThrow(field);
  });
});
