import { startWith } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('a stop for want of use', () => {
    const idle = { exit: { reason: 'idle', message: 'nobody used it' } };
    const startIdling = async (cmdline = '', stopTimeoutSeconds = 10): Promise<void> => {
      await command(startWith(vm, { cmdline, stopTimeoutSeconds }));
      await at(vm, 'running');
    };

    it('is in order, and an end of its own kind', async () => {
      await startIdling();
      stage.agent.manager.endIdle(vm, 'nobody used it');
      expect(stage.agent.manager.idleCandidate(vm)).toMatchObject({ isServing: false });
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(idle);
      expect(stage.agent.manager.idleCandidate(vm)).toBeUndefined();
    });

    it('is by force when the guest does not power off in the time of its spec', async () => {
      await startIdling('deaf', 0);
      stage.agent.manager.endIdle(vm, 'nobody used it');
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(idle);
    });

    it('goes on after a restart of the agent', async () => {
      await startIdling('deaf', 1);
      stage.agent.manager.endIdle(vm, 'nobody used it');
      await restart();
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(idle);
    });

    it('does not hide that its guest crashed meanwhile', async () => {
      await startIdling('deaf');
      stage.agent.manager.endIdle(vm, 'nobody used it');
      stage.host.end(stage.host.alive()[0]!, 'panic');
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'panic' } });
    });
  });
});
