import { existsSync } from 'node:fs';
import { order, start, stop } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at } = stage;
  const vm = idOf(1);

  it('starts, pauses, resumes, stops and erases, each told by one fact', async () => {
    expect(await command(start(vm))).toEqual({ accepted: true });
    await at(vm, 'running');
    await command(order('pause', vm));
    await at(vm, 'paused');
    await command(order('resume', vm));
    await at(vm, 'running');
    await command(stop(vm, 1_000));
    await at(vm, 'ended');
    expect(stage.agent.fact(vm, 'exited')).toMatchObject({ exit: { reason: 'powerOff' } });
    await command(order('erase', vm));
    await until(() => stage.agent.facts(vm).includes('erased'), 'erased');
    expect(stage.agent.facts(vm)).toEqual(['started', 'pausedOnHost', 'resumedOnHost', 'exited', 'erased']);
    expect(existsSync(stage.agent.folders.pathOf(vm, 1))).toBe(false);
    expect(stage.agent.admission.count).toBe(0);
    expect(stage.agent.journal.state.incarnations.size).toBe(0);
  });

  it('gives times of a start in the order in which they happened', async () => {
    await command(start(vm));
    await at(vm, 'running');
    const fact = stage.agent.fact(vm, 'started');
    if (fact?.type !== 'started') throw new Error('not started');
    const { receivedAt, admittedAt, launchedAt, vmmEnteredAt, guestRunAt, guestBootedAt } = fact.timings;
    const times = [receivedAt, admittedAt, launchedAt, vmmEnteredAt, guestRunAt, guestBootedAt];
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.abs(guestBootedAt - Date.now())).toBeLessThan(60_000);
  });

  it('keeps all orders given while it starts, in their order', async () => {
    const orders = [start(vm), order('pause', vm), order('resume', vm), order('pause', vm), order('resume', vm)];
    await Promise.all(orders.map((one) => command(one)));
    await until(() => stage.agent.facts(vm).length === 5, 'five facts');
    expect(stage.agent.facts(vm)).toEqual([
      'started',
      'pausedOnHost',
      'resumedOnHost',
      'pausedOnHost',
      'resumedOnHost',
    ]);
  });

  it('gives up for good when it cannot write down what happened', async () => {
    await command(start(vm));
    await at(vm, 'running');
    await stage.agent.journal.close();
    await expect(command(start(idOf(2)))).rejects.toMatchObject({ code: 'unavailable' });
    expect(stage.agent.admission.count).toBe(1);
    stage.host.end(stage.host.alive()[0]!, 'panic');
    await until(() => stage.agent.fatal.length === 1, 'fatal');
  });
});
