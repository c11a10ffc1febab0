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

  it('let a path be any path', () => {
    const argv = qemuArguments({ ...machine, disks: [{ path: '/a,b.img', readOnly: true }], secondSerial: '/s,1' });
    expect(argv.find((word) => word.startsWith('file='))).toMatch(/^file=\/a,,b\.img,.*readonly=on/);
    expect(argv).toContain('unix:/s,,1,server=on,wait=off');
  });
});
