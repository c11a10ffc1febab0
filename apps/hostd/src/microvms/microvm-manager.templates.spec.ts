import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { order, snapshot, start, startWith } from '../testing/host-commands';
import { idOf } from '../testing/microvm-ids';
import { scriptedStage } from '../testing/scripted-stage';
import { until } from '../testing/waits';
import type { StartCommand } from './command-rules';

describe('microVMs of a host', () => {
  const stage = scriptedStage();
  const { command, at, restart } = stage;
  const vm = idOf(1);

  describe('templates', () => {
    const template = idOf(90);
    const made = async (words = ''): Promise<void> => {
      await command(start(vm, 1, words));
      await at(vm, 'running');
      await command(snapshot(vm, template));
    };
    const taken = () => until(() => stage.agent.facts(vm).includes('snapshotTaken'), 'taken');
    const clone = (n: number, digest = stage.agent.context.templates.get(template)!.digest): StartCommand =>
      startWith(idOf(n), { template: `${template}@${digest}` });

    it('are made of what runs, which goes on; clones start from them', async () => {
      await made();
      await taken();
      const held = stage.agent.context.templates.get(template)!;
      expect(stage.agent.fact(vm, 'snapshotTaken')).toMatchObject({
        templateId: template,
        digest: held.digest,
        as: 'running',
        pauseMs: 2,
        copy: { tracking: 'manual', converged: true, roundBytes: [4_096, 0] },
      });
      expect(stage.host.alive()[0]?.paused).toBe(false);
      for (const n of [2, 3]) await command(clone(n));
      for (const n of [2, 3]) await at(idOf(n), 'running');
      expect(stage.host.alive().map(({ restoredFrom }) => restoredFrom)).toEqual([undefined, held.folder, held.folder]);
    });

    it('leave what was paused as it was', async () => {
      await command(start(vm));
      await at(vm, 'running');
      await command(order('pause', vm));
      await command(snapshot(vm, template));
      await taken();
      expect(stage.agent.fact(vm, 'snapshotTaken')).toMatchObject({ as: 'paused' });
      expect(stage.host.alive()[0]?.paused).toBe(true);
    });

    it('are there whole or not at all when the agent ends meanwhile; the next one makes them', async () => {
      await made();
      await until(() => stage.host.alive()[0]!.paused, 'it stands still for its snapshot');
      await restart();
      await taken();
      expect(stage.host.alive()[0]?.paused).toBe(false);
      expect(stage.agent.drafts()).toEqual([]);
    });

    it('that cannot be written leave nothing, and their source runs', async () => {
      await made('no-snapshot');
      await until(() => stage.agent.facts(vm).includes('commandFailed'), 'told');
      expect(stage.agent.fact(vm, 'commandFailed')).toMatchObject({ command: 'snapshot' });
      expect([stage.agent.context.templates.list(), stage.host.alive()[0]?.paused]).toEqual([[], false]);
      expect(stage.agent.drafts()).toEqual([]);
    });

    it('outlive their agent; one that is damaged is given up, with the reason, and others go on', async () => {
      await made();
      await taken();
      await restart();
      await command(clone(2));
      await at(idOf(2), 'running');
      const { folder, digest } = stage.agent.context.templates.get(template)!;
      chmodSync(join(folder, 'memory'), 0o600);
      writeFileSync(join(folder, 'memory'), 'damage', { flag: 'r+' });
      await command(clone(3));
      await at(idOf(3), 'ended');
      expect(stage.agent.fact(idOf(3), 'exited')).toMatchObject({
        exit: { message: expect.stringContaining('its file memory is not as it was written') as string },
      });
      expect(stage.agent.context.templates.list()).toEqual([]);
      await command(clone(4, digest));
      await at(idOf(4), 'ended');
      expect(stage.agent.fact(idOf(4), 'exited')).toMatchObject({
        exit: { message: expect.stringContaining('is not on this host') as string },
      });
      expect([stage.agent.phase(vm), stage.agent.phase(idOf(2))]).toEqual(['running', 'running']);
    });
  });
});
