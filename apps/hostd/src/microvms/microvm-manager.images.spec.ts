import { startWith, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  const startImage = (image: string) => startWith(vm, { image, network: 'none' });

  it('tells why an image cannot be had, and gives the place back', async () => {
    expect(await command(startImage('broken'))).toEqual({ accepted: true });
    await at(vm, 'ended');
    expect(stage.agent.fact(vm, 'exited')).toMatchObject({
      exit: { reason: 'vmmError', message: 'its content has another digest' },
    });
    expect(stage.agent.admission.count).toBe(0);
    expect(stage.host.launches).toBe(0);
  });

  it('does not wait for an image whose microVM is not wanted any more', async () => {
    await command(startImage('slow'));
    await command(stop(vm, 0));
    await at(vm, 'ended');
    expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
  });

  it('gives up an image that takes too long', async () => {
    await restart({ limits: { preparationMs: 5 } });
    await command(startImage('slow'));
    await at(vm, 'ended');
    expect(stage.agent.fact(vm, 'exited')).toMatchObject({
      exit: { reason: 'vmmError', message: expect.stringContaining('not ready within 5 ms') as string },
    });
  });
});
