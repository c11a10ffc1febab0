import { start, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('restart', () => {
    it('adopts what runs: same process', async () => {
      for (const n of [1, 2, 3]) await command(start(idOf(n)));
      await until(() => stage.host.alive().filter(({ booted }) => booted).length === 3, 'all run');
      for (const n of [1, 2, 3]) await at(idOf(n), 'running');
      const before = stage.agent.manager.inventory();
      await restart();
      expect(stage.agent.manager.inventory()).toEqual(before);
      expect(stage.agent.admission.count).toBe(3);
      expect(stage.host.launches).toBe(3);
      await command(stop(idOf(2), 1_000));
      await at(idOf(2), 'ended');
    });

    it('tells the end of what ended meanwhile', async () => {
      await command(start(vm));
      await at(vm, 'running');
      stage.agent.crash();
      stage.host.end(stage.host.alive()[0]!, 'panic', 'the guest panicked');
      await restart();
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({
        exit: { reason: 'panic', message: 'the guest panicked' },
      });
      expect(stage.agent.admission.count).toBe(0);
    });

    it('goes on waiting for a guest that ignores the power button', async () => {
      await command(start(vm, 1, 'deaf'));
      await at(vm, 'running');
      await command(stop(vm, 100));
      await restart();
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
    });
  });
});
