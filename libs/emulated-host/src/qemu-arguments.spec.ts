import { qemuArguments } from './qemu-arguments';

describe('the arguments of QEMU', () => {
  const machine = { kernelImage: '/k', initrd: '/i', memoryMiB: 512, cpus: 1 };

  it('never ask for KVM of this machine, and give nothing that was not asked for', () => {
    const argv = qemuArguments(machine);
    expect(argv.join(' ')).toContain('-accel tcg,');
    expect(argv).not.toContain('-netdev');
    expect(argv).not.toContain('-drive');
    expect(argv.filter((word) => word === '-serial')).toHaveLength(1);
  });

  it('have the kernel use a timer that ticks by itself, so that an interrupt that QEMU loses is delivered with the next', () => {
    const argv = qemuArguments(machine);
    expect(argv[argv.indexOf('-append') + 1]!.split(' ')).toEqual(expect.arrayContaining(['highres=off', 'nohz=off']));
  });

  it('have processors take turns, so that none runs code that another is changing', () => {
    const accelerator = (cpus: number): string | undefined => {
      const argv = qemuArguments({ ...machine, cpus });
      return argv[argv.indexOf('-accel') + 1];
    };
    expect(accelerator(1)).toBe('tcg,thread=multi');
    expect(accelerator(2)).toBe('tcg,thread=single');
  });

  it('share a folder for reading alone, unless told otherwise', () => {
    const shares = [{ path: '/a,b', tag: 'x' }, { path: '/c', tag: 'y', writable: true }]; // prettier-ignore
    const told = qemuArguments({ ...machine, shares }).filter((word) => word.startsWith('local,'));
    expect(told[0]).toMatch(/^local,path=\/a,,b,mount_tag=x,.*readonly=on/);
    expect(told[1]).toMatch(/^local,path=\/c,mount_tag=y,.*readonly=off/);
  });

  it('let a path be any path', () => {
    const argv = qemuArguments({ ...machine, disks: [{ path: '/a,b.img', readOnly: true }], secondSerial: '/s,1' });
    expect(argv.find((word) => word.startsWith('file='))).toMatch(/^file=\/a,,b\.img,.*readonly=on/);
    expect(argv).toContain('unix:/s,,1,server=on,wait=off');
  });
});
