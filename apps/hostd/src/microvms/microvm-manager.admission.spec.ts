import { start, startWith, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';
import type { StartCommand } from './command-rules';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('admission', () => {
    it('refuses more starts than there are slots, however close together, and takes them again after an end', async () => {
      stage.replaceAgent({ slots: 3 });
      const answers = await Promise.all([1, 2, 3, 4, 5].map((n) => command(start(idOf(n)))));
      expect(answers.filter(({ accepted }) => accepted)).toHaveLength(3);
      expect(answers[4]).toEqual({ accepted: false, reason: 'no slot free: 3 of 3 slots are in use' });
      await until(() => stage.host.alive().length === 3, 'three run');
      stage.host.end(stage.host.alive()[0]!, 'panic');
      await until(() => stage.agent.admission.count === 2, 'a slot is free');
      expect(await command(start(idOf(6)))).toEqual({ accepted: true });
    });

    it('launches into a shell that waits in its place, and without one when that has ended', async () => {
      await restart({ warmShells: 2 });
      await until(() => stage.agent.slots.shells === 2, 'shells');
      await command(start(vm));
      await at(vm, 'running');
      expect(stage.agent.driver.usedShells).toBe(1);
      stage.agent.driver.shellsAreGone = true;
      await until(() => stage.agent.slots.shells === 2, 'shells');
      await command(start(idOf(2)));
      await at(idOf(2), 'running');
      expect(stage.agent.driver.usedShells).toBe(1);
    });

    it('gives each incarnation a place of its own, and remembers it', async () => {
      for (const n of [1, 2, 3]) await command(start(idOf(n)));
      const slotsOf = () => [...stage.agent.journal.state.incarnations.values()].map(({ slot }) => slot);
      expect(slotsOf()).toEqual([0, 1, 2]);
      await at(idOf(3), 'running');
      await restart();
      expect(slotsOf()).toEqual([0, 1, 2]);
      await command(start(idOf(4)));
      expect(slotsOf()).toEqual([0, 1, 2, 3]);
    });

    it('launches no more at once than the pace allows', async () => {
      await Promise.all(Array.from({ length: 20 }, (_, n) => command(start(idOf(n)))));
      await until(() => stage.host.alive().filter(({ booted }) => booted).length === 20, 'all boot');
      expect(stage.agent.driver.mostInFlight).toBeLessThanOrEqual(2);
    });

    it('starts nothing while the lease is not held', async () => {
      stage.agent.leaseHeld = false;
      await expect(command(start(vm))).rejects.toMatchObject({ code: 'unavailable' });
      stage.agent.leaseHeld = true;
      expect(await command(start(vm))).toEqual({ accepted: true });
    });

    it('keeps tenants apart who may not share a host, also after a restart and with a record of the one that has ended', async () => {
      const startOf = (id: string, tenant: string, neverWith: string[] = []): StartCommand => ({
        ...startWith(id, { tenant }),
        ...(neverWith.length > 0 ? { coresidency: { mode: 'shared', neverWith } } : {}),
      });
      await command(startOf(vm, 'acme', ['rival']));
      await at(vm, 'running');
      const other = idOf(2);
      const refused = { accepted: false, reason: expect.stringContaining('co-residency') as string };
      expect(await command(startOf(other, 'rival'))).toEqual(refused);
      expect(stage.agent.manager.takeAnswered()).toEqual([vm, other]);
      await restart();
      expect(await command(startOf(other, 'rival'))).toEqual(refused);
      expect(await command(startOf(idOf(3), 'third'))).toEqual({ accepted: true });
      await command(stop(vm, 0));
      await at(vm, 'ended');
      await restart();
      expect(await command(startOf(other, 'rival'))).toEqual({ accepted: true });
      expect(stage.agent.manager.takeAnswered()).toEqual([other]);
    });
  });
});
