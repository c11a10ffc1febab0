import { existsSync } from 'node:fs';
import { order, spec, start, startWith, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('repeats and fences', () => {
    it('refuses a start for which its journal has no room, holds nothing for it, and starts the next one', async () => {
      let noRoom: string | undefined = 'the disk of this host is full';
      await restart({ noRoom: () => noRoom });
      const refused = start(vm, 1);
      const answer = await command(refused);
      expect(answer).toEqual({ accepted: false, reason: noRoom });
      expect(stage.agent.admission.count).toBe(0);
      expect(stage.agent.slots.held()).toEqual([]);
      noRoom = undefined;
      expect(await command(refused)).toEqual(answer);
      expect(await command(start(vm, 2))).toEqual({ accepted: true });
    });

    it('answers a repeat of a command with its first answer', async () => {
      const refused = startWith(vm, { image: 'nope' });
      const answer = await command(refused);
      expect(answer).toEqual({ accepted: false, reason: 'no image nope' });
      expect(await command({ ...refused, spec: spec() })).toEqual(answer);
      await restart();
      expect(await command({ ...refused, spec: spec() })).toEqual(answer);
      expect(stage.host.launches).toBe(0);
    });

    it('starts an incarnation once, however often it is told to', async () => {
      const first = start(vm);
      await Promise.all([first, start(vm), first, start(vm)].map((one) => command(one)));
      await at(vm, 'running');
      expect(await command(start(vm))).toEqual({ accepted: true });
      expect(stage.host.launches).toBe(1);
    });

    it('does not start again what has ended, and tells the end again', async () => {
      await command(start(vm, 1, 'exit'));
      await at(vm, 'ended');
      stage.agent.acknowledgeAll();
      expect(await command(start(vm))).toEqual({ accepted: true });
      expect(stage.agent.facts(vm)).toEqual(['exited']);
      expect(stage.host.launches).toBe(1);
    });

    it('refuses a lower epoch', async () => {
      await command(start(vm, 3));
      await at(vm, 'running');
      for (const stale of [start(vm, 2), order('pause', vm, 2), stop(vm, 0, 1)]) {
        expect(await command(stale)).toMatchObject({
          accepted: false,
          reason: expect.stringContaining('epoch 3') as string,
        });
      }
      expect(stage.agent.phase(vm)).toBe('running');
    });

    it('ends a lower epoch before it starts a higher one', async () => {
      await command(start(vm, 1));
      await at(vm, 'running');
      expect(await command(start(vm, 2))).toEqual({ accepted: true });
      await until(() => stage.agent.phase(vm) === 'running', 'epoch 2');
      expect(stage.agent.incarnation(vm)!.epoch).toBe(2);
      expect(stage.agent.facts(vm)).toEqual(['started', 'exited', 'started']);
      expect(stage.host.alive()).toHaveLength(1);
      await until(() => !existsSync(stage.agent.folders.pathOf(vm, 1)), 'the remains are removed');
    });

    it('does not start a higher epoch while the lower one will not end', async () => {
      stage.replaceAgent({ limits: { replaceMs: 300 } });
      await command(start(vm, 1, 'immortal'));
      await at(vm, 'running');
      await expect(command(start(vm, 2))).rejects.toMatchObject({ code: 'unavailable' });
      expect(stage.host.launches).toBe(1);
      stage.host.end(stage.host.alive()[0]!, 'killed');
    });

    it('never starts what it said is absent, or was erased, also after a restart', async () => {
      const other = idOf(2);
      await command(order('verify', vm, 2));
      await command(order('erase', other, 1));
      expect(stage.agent.facts(vm)).toEqual(['absent']);
      expect(stage.agent.facts(other)).toEqual(['erased']);
      await restart();
      expect(await command(start(vm, 2))).toMatchObject({ accepted: false });
      expect(await command(start(other, 1))).toMatchObject({ accepted: false });
      expect(await command(start(vm, 3))).toEqual({ accepted: true });
      expect(await command(start(other, 2))).toEqual({ accepted: true });
    });

    it('ends a lower epoch when it hears of a higher one that is not here', async () => {
      await command(start(vm, 1));
      await at(vm, 'running');
      await command(order('verify', vm, 2));
      await at(vm, 'ended');
      expect(stage.agent.facts(vm)).toEqual(['started', 'absent', 'exited']);
    });

    it('tells what an incarnation does', async () => {
      await command(start(vm));
      await at(vm, 'running');
      const question = order('verify', vm);
      await command(question);
      expect(stage.agent.fact(vm, 'observed')).toMatchObject({ as: 'running', pid: stage.host.alive()[0]!.pid });
      await command(order('pause', vm));
      await at(vm, 'paused');
      await command(question);
      expect(stage.agent.fact(vm, 'observed')).toMatchObject({ as: 'paused' });
      stage.agent.acknowledgeAll();
      for (let i = 0; i < 3; i++) await command(question);
      expect(stage.agent.facts(vm)).toEqual(['observed']);
    });
  });
});
