import { volleyProgram } from '../program';

describe('chaos', () => {
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
