import { ExitCode } from '../exit-code';
import type { Access, HostView } from './host-view';
import { requireVmm } from './require-vmm';

function host(kvm: Access): HostView {
  return {
    read: () => undefined,
    list: () => [],
    access: () => kvm,
    freeMiB: () => undefined,
    natsServerVersion: undefined,
    nodeVersion: '20.19.0',
    dataFolder: '/data',
  };
}

describe('what runs as a microVM', () => {
  it('may be VMMs where there is KVM', () => expect(() => requireVmm('kvm', host('ok'))).not.toThrow());

  it('may be stand-ins anywhere, but only when that is said', () => {
    expect(() => requireVmm('stand-in', host('absent'))).not.toThrow();
    expect(() => requireVmm('kvm', host('absent'))).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/no \/dev\/kvm.*--vmm stand-in.*not the VMM and guests/s) as string,
        exitCode: ExitCode.usage,
      }),
    );
  });
});
