import type { MicrovmSpec } from '#protocol';
import { expire, order, start, startWith } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';
import type { StartCommand } from './command-rules';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('time to live', () => {
    const mortal = (inMs: number, change: Partial<MicrovmSpec> = {}): StartCommand => ({
      ...startWith(vm, change),
      expiresAt: Date.now() + inMs,
    });
    const expired = { exit: { reason: 'expired', message: 'its time to live is over' } };
    const HOUR = 3_600_000;

    it('ends it, and gives its place back', async () => {
      await command(mortal(3_000, { cmdline: 'deaf' }));
      await at(vm, 'ended');
      expect(stage.agent.facts(vm)).toEqual(['started', 'exited']);
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(expired);
      expect(stage.agent.admission.count).toBe(0);
    });

    it('ends it before its launch, when that has to wait', async () => {
      await command(mortal(20, { image: 'slow', network: 'none' }));
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(expired);
      expect(stage.host.launches).toBe(0);
    });

    it('is kept by the journal, and over when it ran out while no agent was there', async () => {
      await command(mortal(2_000));
      await at(vm, 'running');
      stage.agent.crash();
      const { expiry } = stage.agent.incarnation(vm)!;
      await until(() => Date.now() > expiry!.at, 'the time is over');
      expect(stage.host.alive()).toHaveLength(1);
      await restart();
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(expired);
    });

    it.each([-HOUR, HOUR])('does not follow a wall clock that jumps by %d ms', async (wallClockJumpsBy) => {
      await command(mortal(HOUR / 2));
      await at(vm, 'running');
      await restart({ wallClockJumpsBy });
      await command(order('verify', vm));
      expect(stage.agent.phase(vm)).toBe('running');
      expect(stage.agent.manager.liveOf(vm)!.isEnding).toBe(false);
    });

    it('can be put off for ever, and set again', async () => {
      await command(mortal(2_000));
      await command(expire(vm, null));
      await at(vm, 'running');
      expect(stage.agent.incarnation(vm)).not.toHaveProperty('expiry');
      await restart();
      await command(expire(vm, Date.now() - 1));
      await at(vm, 'ended');
      expect(stage.agent.fact(vm, 'exited')).toMatchObject(expired);
    });

    it('set for what is not here changes nothing, and keeps nothing from starting', async () => {
      await command(expire(vm, Date.now() + HOUR));
      expect(stage.agent.facts(vm)).toEqual([]);
      expect(await command(start(vm))).toEqual({ accepted: true });
      await at(vm, 'running');
    });
  });
});
