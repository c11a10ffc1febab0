import { canaryContender, canaryFigures } from './canary';

describe('a canary that measures', () => {
  const answer = (word: string, us: number, count = 1_000): string =>
    `canary: ${word} 0 ok count=${count} us=${us}\r\n`;

  it('says how long each word took, in their order', () => {
    const console = `canary: 16 MiB\r\ncanary: net 0 ok mac=02:00:00:00:00:01\r\n${answer('ping', 20_000, 200)}${answer('udp', 500_000)}`;
    expect(canaryFigures('net', console)).toEqual({
      ping: { operationsPerSecond: 10_000, mean: 100 },
      'udp-send': { bytesPerSecond: 2_800_000, operationsPerSecond: 2_000 },
    });
  });

  it('is not believed when a word failed, or another was answered', () => {
    const failed = 'canary: ping 0 error reason=timeout\n';
    expect(() => canaryFigures('net', failed)).toThrow(/did not answer ping=192.0.2.1,200[^]*reason=timeout/);
    expect(() => canaryFigures('net', answer('udp', 5))).toThrow(/did not answer ping/);
    expect(() => canaryFigures('io', answer('reads', 5))).toThrow(/did not answer writes/);
  });

  it('has only the devices that are measured', () => {
    const files = { vmm: '/v', run: '/r', kernel: '/k', disk: '/d' } as never;
    const machine = { vcpus: 1, memoryMiB: 1, cmdline: '', disk: false, lifetimeS: 5 };
    expect(canaryContender('io').argv(files, machine).join(' ')).toMatch(/--disk \/d --timeout 5$/);
    expect(
      canaryContender('net')
        .argv(files, { ...machine, tap: 't' })
        .join(' '),
    ).toMatch(/--tap t --timeout 5$/);
  });
});
