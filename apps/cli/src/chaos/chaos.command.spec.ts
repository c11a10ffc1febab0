import type { Access, HostView } from '../doctor/host-view';
import { ExitCode } from '../exit-code';
import { volleyProgram } from '../program';
import { requireVmm } from './chaos.command';

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

describe('chaos', () => {
  it('takes VMMs where there is KVM', () => expect(() => requireVmm('kvm', host('ok'))).not.toThrow());

  it('takes stand-ins anywhere, but only when it is told to', () => {
    expect(() => requireVmm('stand-in', host('absent'))).not.toThrow();
    expect(() => requireVmm('kvm', host('absent'))).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/no \/dev\/kvm.*--vmm stand-in.*not the VMM and guests/s) as string,
        exitCode: ExitCode.usage,
      }),
    );
  });

  it('means VMMs unless told otherwise, and knows nothing else', async () => {
    const chaos = (await volleyProgram()).commands.find((command) => command.name() === 'chaos')!;
    expect(chaos.opts()).toMatchObject({ vmm: 'kvm' });
    const wrong = await volleyProgram(['chaos']);
    for (const command of wrong.commands) command.configureOutput({ writeErr: () => undefined });
    await expect(wrong.parseAsync(['node', 'volley', 'chaos', '--list', '--vmm', 'qemu'])).rejects.toThrow(
      /Allowed choices are kvm, stand-in/,
    );
  });
});
