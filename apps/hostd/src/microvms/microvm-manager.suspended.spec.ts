import { existsSync } from 'node:fs';
import { order, restore, start, startWith, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('suspended', () => {
    const suspended = async (words = ''): Promise<void> => {
      await command(start(vm, 1, words));
      await at(vm, 'running');
      await command(order('suspend', vm));
      await at(vm, 'suspended');
      await until(() => stage.host.alive().length === 0, 'its process has ended');
    };
    const memory = (): string => stage.agent.context.suspensions.pathOf(vm);

    it('gives its place back, keeps its memory, and goes on from there as the next incarnation', async () => {
      await suspended();
      expect(stage.agent.fact(vm, 'suspended')).toMatchObject({ epoch: 1, bytes: 4_096, pauseMs: 2 });
      expect(stage.agent.facts(vm)).not.toContain('exited');
      expect([stage.agent.admission.count, stage.agent.slots.held()]).toEqual([0, []]);
      expect(stage.agent.manager.inventory()).toEqual([{ microvmId: vm, epoch: 1, as: 'suspended' }]);
      expect(await command(restore(vm, 2))).toEqual({ accepted: true });
      await at(vm, 'running');
      expect(stage.host.alive()[0]?.restoredFrom).toBe(memory());
      await until(() => !existsSync(memory()), 'the file of its memory is gone');
      expect(stage.agent.fact(vm, 'started')).toMatchObject({ epoch: 2 });
      expect([stage.agent.admission.count, stage.agent.slots.held().length]).toEqual([1, 1]);
      expect(existsSync(stage.agent.folders.pathOf(vm, 1))).toBe(false);
    });

    it('at once asked to go on waits for the end of its own process', async () => {
      await command(start(vm));
      await at(vm, 'running');
      await command(order('suspend', vm));
      await at(vm, 'suspended');
      expect(await command(restore(vm, 2))).toEqual({ accepted: true });
      await at(vm, 'running');
      expect(stage.host.alive()).toHaveLength(1);
    });

    it('asked for by two at once is done once, and keeps its memory', async () => {
      await command(start(vm));
      await at(vm, 'running');
      await Promise.all([1, 2].map(() => command(order('suspend', vm))));
      await at(vm, 'suspended');
      expect(await command(restore(vm, 2))).toEqual({ accepted: true });
      await at(vm, 'running');
      expect(stage.host.alive()[0]?.restoredFrom).toBe(memory());
      expect(stage.agent.facts(vm)).toEqual(['started', 'suspended', 'started']);
    });

    it('stays when there is no room for it, also under the epoch that was to go on', async () => {
      await suspended();
      await restart({ slots: 1 });
      await command(start(idOf(2)));
      expect(await command(restore(vm, 2))).toMatchObject({ accepted: false });
      expect(stage.agent.manager.inventory()).toContainEqual({ microvmId: vm, epoch: 2, as: 'suspended' });
      await command(order('verify', vm, 3));
      expect(stage.agent.fact(vm, 'observed')).toMatchObject({ epoch: 3, as: 'suspended' });
      expect(existsSync(memory())).toBe(true);
    });

    it('outlives its agent and the machine', async () => {
      await suspended();
      await restart({ bootId: 'another' });
      expect(stage.agent.manager.inventory()).toEqual([{ microvmId: vm, epoch: 1, as: 'suspended' }]);
      await command(restore(vm, 2));
      await at(vm, 'running');
    });

    it('ends when it is stopped, started afresh or erased, and leaves nothing', async () => {
      await suspended();
      await command(stop(vm, 1_000));
      await at(vm, 'ended');
      await until(() => !existsSync(memory()), 'its memory is gone');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
      await command(start(vm, 2));
      await at(vm, 'running');
      await command(order('suspend', vm, 2));
      await at(vm, 'suspended');
      await command(start(vm, 3));
      await at(vm, 'running');
      expect(stage.host.alive()[0]?.restoredFrom).toBeUndefined();
      await command(order('suspend', vm, 3));
      await at(vm, 'suspended');
      await command(order('erase', vm, 3));
      await until(() => stage.agent.facts(vm).includes('erased'), 'erased');
      expect(existsSync(memory())).toBe(false);
      expect(stage.agent.journal.state.incarnations.size).toBe(0);
    });

    it('runs on, with the reason, when its memory cannot be written', async () => {
      await command(start(vm, 1, 'no-snapshot'));
      await at(vm, 'running');
      await command(order('suspend', vm));
      await until(() => stage.agent.facts(vm).includes('commandFailed'), 'told');
      expect(stage.agent.fact(vm, 'commandFailed')).toMatchObject({ command: 'suspend', reason: 'its disk is full' });
      expect([stage.agent.phase(vm), stage.host.alive()[0]?.paused]).toEqual(['running', false]);
      expect(stage.agent.context.suspensions.list()).toEqual([]);
    });

    it('for want of use says so', async () => {
      await command(startWith(vm, { idleStop: { afterSeconds: 5, cpuPercent: 1, action: 'suspend' } }));
      await at(vm, 'running');
      stage.agent.manager.endIdle(vm, 'suspended because nobody used it');
      await at(vm, 'suspended');
      expect(stage.agent.fact(vm, 'suspended')).toMatchObject({ reason: 'suspended because nobody used it' });
    });

    it('is absent where nothing of it is', async () => {
      await command(restore(vm, 2));
      expect(stage.agent.fact(vm, 'absent')).toMatchObject({ epoch: 2 });
    });
  });
});
