import type { MicrovmSpec } from '#protocol';
import { order, start, startMovable, startWith, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { tick, until } from '../testing/waits';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('ends', () => {
    const granted = (microvmId: string, slot: number, onHostLoss: MicrovmSpec['onHostLoss']) => ({
      type: 'admitted' as const,
      microvmId,
      epoch: 1,
      slot,
      spec: startWith(microvmId, { onHostLoss }).spec,
      receivedAt: Date.now(),
      admittedAt: Date.now(),
    });

    it('tells a launch that fails', async () => {
      await command(start(vm, 1, 'no-launch'));
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({
        exit: {
          reason: 'vmmError',
          message: expect.stringMatching(
            /^the VMM could not be launched: no memory for it; the host has no memory/,
          ) as string,
        },
      });
      expect(stage.agent.admission.count).toBe(0);
    });

    it('kills a guest that does not boot in time', async () => {
      stage.replaceAgent({ limits: { bootMs: 200 } });
      await command(start(vm, 1, 'no-boot'));
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({
        exit: { reason: 'vmmError', message: 'the guest did not report that it had booted within 200 ms' },
      });
      expect(stage.agent.facts(vm)).toEqual(['exited']);
    });

    it('tells boot and end of a guest that does both at once', async () => {
      await command(start(vm, 1, 'exit'));
      await at(vm, 'ended');
      expect(stage.agent.facts(vm)).toEqual(['started', 'exited']);
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    });

    it('tells a VMM that the kernel killed for memory from one that somebody killed', async () => {
      await command(start(vm));
      await at(vm, 'running');
      const slot = stage.agent.incarnation(vm)!.slot!;
      stage.host.oomKills.set(slot, 1);
      stage.host.end(stage.host.alive()[0]!, 'killed');
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'outOfMemory' } });
      // The next one in this place is not blamed for it, also after a restart.
      const next = idOf(2);
      await command(start(next));
      await at(next, 'running');
      expect(stage.agent.incarnation(next)!.slot).toBe(slot);
      await restart();
      stage.host.end(stage.host.alive()[0]!, 'killed');
      await at(next, 'ended');
      expect(stage.agent.fact(next, 'exited')).toMatchObject({ exit: { reason: 'killed' } });
    });

    it('tells a VMM that was killed from outside', async () => {
      await command(start(vm));
      await at(vm, 'running');
      stage.host.end(stage.host.alive()[0]!, 'killed');
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'killed' } });
    });

    it('kills a guest that ignores the power button when its time is over, or when told to hurry', async () => {
      const other = idOf(2);
      for (const id of [vm, other]) await command(start(id, 1, 'deaf'));
      await at(vm, 'running');
      await at(other, 'running');
      await command(stop(vm, 50));
      await command(stop(other, 60_000));
      await at(vm, 'ended');
      expect(stage.agent.phase(other)).toBe('running');
      await command(stop(other, 0));
      await at(other, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
      expect(stage.agent.fact(other, 'exited')).toMatchObject({
        exit: { reason: 'requested', message: 'killed on request' },
      });
    });

    it('wakes a paused guest to power it off', async () => {
      await command(start(vm));
      await command(order('pause', vm));
      await at(vm, 'paused');
      await command(stop(vm, 2_000));
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    });

    it('cancels a launch that waits for its turn', async () => {
      for (const n of [1, 2]) await command(start(idOf(n), 1, 'no-boot'));
      const third = idOf(3);
      await command(start(third));
      await command(stop(third, 0));
      await at(third, 'ended');
      expect(stage.host.vmms.size).toBeLessThanOrEqual(2);
      expect(stage.agent.fact(third, 'exited')).toMatchObject({ exit: { reason: 'requested' } });
    });

    it.each(['erase', 'stop'] as const)(
      'lets no process behind when %s comes while a launch is under way',
      async (type) => {
        await command(start(vm, 1, 'slow-launch'));
        await tick();
        await command(type === 'erase' ? order('erase', vm) : stop(vm, 0));
        const last = type === 'erase' ? 'erased' : 'exited';
        await until(() => stage.agent.facts(vm).includes(last), last);
        expect(stage.host.launches).toBe(1);
        expect(stage.host.alive()).toEqual([]);
        expect(stage.agent.admission.count).toBe(0);
      },
    );

    it.each([
      ['refused', 'no-pause', {}, 'the VMM refused'],
      ['not answered', 'mute', { controlMs: 50 }, 'no answer within 50 ms'],
    ])('reports a pause that is %s, and goes on', async (_, word, limits, reason) => {
      stage.replaceAgent({ limits });
      await command(start(vm, 1, word));
      await command(order('pause', vm));
      await until(() => stage.agent.facts(vm).includes('commandFailed'), 'failed');
      await command(stop(vm, 1_000));
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'commandFailed')).toMatchObject({ command: 'pause', reason });
    });

    it('says that a process does not end, keeps its slot, and frees it when it does', async () => {
      stage.replaceAgent({ limits: { killMs: 100 } });
      await command(start(vm, 1, 'immortal'));
      await at(vm, 'running');
      await command(stop(vm, 0));
      await until(() => stage.agent.facts(vm).includes('commandFailed'), 'said');
      expect(stage.agent.admission.count).toBe(1);
      stage.host.end(stage.host.alive()[0]!, 'killed');
      await at(vm, 'ended');
      expect(stage.agent.admission.count).toBe(0);
    });

    it('fences those that may move, and no others', async () => {
      const keep = idOf(2);
      await command(startMovable(vm));
      await command(start(keep));
      await at(vm, 'running');
      await at(keep, 'running');
      const ends = stage.agent.manager.fence();
      expect(ends).toHaveLength(1);
      await ends[0];
      expect(stage.agent.phase(vm)).toBe('ended');
      expect(stage.agent.phase(keep)).toBe('running');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'fenced' } });
    });

    it('ends those that may move, and no others, when it comes back after the end of its lease', async () => {
      const keep = idOf(2);
      await command(startMovable(vm));
      await command(start(keep));
      await at(vm, 'running');
      await at(keep, 'running');
      await restart({ leaseHeld: false });
      await at(vm, 'ended');
      expect(stage.agent.phase(keep)).toBe('running');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'fenced' } });
      expect(stage.host.alive()).toHaveLength(1);
    });

    it('does not launch what was granted before its lease ended and may run elsewhere by now', async () => {
      const keep = idOf(2);
      stage.replaceAgent();
      // Killed between the record of the grant and the launch.
      stage.agent.context.chronicle.record({ change: granted(vm, 0, 'reschedule') });
      stage.agent.context.chronicle.record({ change: granted(keep, 1, 'keep') });
      await restart({ leaseHeld: false });
      await at(vm, 'ended');
      await at(keep, 'running');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'fenced' } });
      expect(stage.host.launches).toBe(1);
    });

    it('leaves alone what may move while the lease is held', async () => {
      await command(startMovable(vm));
      await at(vm, 'running');
      await restart();
      expect(stage.agent.manager.liveOf(vm)!.doing).toBe('running');
    });

    it('says that the machine was restarted under those that were running', async () => {
      const [keep, over] = [idOf(2), idOf(3)];
      await command(startMovable(vm));
      await command(start(keep));
      await command(start(over, 1, 'exit'));
      for (const [id, phase] of [
        [vm, 'running'],
        [keep, 'running'],
        [over, 'ended'],
      ] as const)
        await at(id, phase);
      stage.agent.crash();
      for (const one of stage.host.alive()) stage.host.end(one, 'lost');
      await restart({ bootId: 'next boot' });
      await at(vm, 'ended');
      await at(keep, 'ended');
      for (const id of [vm, keep]) {
        expect(stage.agent.fact(id, 'exited')).toMatchObject({ exit: { reason: 'hostRestarted' } });
      }
      expect(stage.agent.fact(over, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    });

    it('keeps the remains of a bounded number that nobody erases', async () => {
      stage.replaceAgent({ limits: { endedKept: 2 } });
      for (let n = 1; n <= 5; n++) {
        await command(start(idOf(n), 1, 'exit'));
        await at(idOf(n), 'ended');
        stage.agent.acknowledgeAll();
      }
      await command(start(idOf(6), 1, 'exit'));
      await until(() => stage.agent.journal.state.incarnations.size <= 3, 'old ones are dropped');
      expect(await command(start(idOf(1)))).toMatchObject({ accepted: false });
    });
  });
});
