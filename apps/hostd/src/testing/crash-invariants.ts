import { holdsPlace } from '../journal/host-record';
import type { AgentUnderTest } from './agent-under-test';
import type { ScriptedHost } from './scripted-host';

/** What holds on a host where nothing is under way, however often its agent crashed. */
export function expectNothingLost(agent: AgentUnderTest, host: ScriptedHost): void {
  const { incarnations, outbox } = agent.journal.state;
  expect(host.violations).toEqual([]);
  const alive = [...incarnations.values()].filter(holdsPlace);
  // No orphan, nothing lost: the processes are exactly those on record.
  const pids = host.alive().map(({ pid }) => pid);
  expect(pids.sort()).toEqual(alive.map(({ identity }) => identity?.pid).sort());
  expect(agent.admission.count).toBe(alive.length);
  const told = [...outbox.values()].map(
    ({ microvmId, fact }) => `${microvmId} ${'epoch' in fact ? fact.epoch : ''} ${fact.type}`,
  );
  for (const { microvmId, epoch, phase } of incarnations.values()) {
    if (phase === 'ended') expect(told).toContain(`${microvmId} ${epoch} exited`);
    else if (phase === 'suspended') expect(agent.context.suspensions.list()).toContain(microvmId);
    else expect(told).toContain(`${microvmId} ${epoch} started`);
  }
  // Snapshots are whole.
  expect(agent.drafts()).toEqual([]);
  // Every folder is owned.
  const owned = [...incarnations.values()].map(({ microvmId, epoch }) => agent.folders.pathOf(microvmId, epoch));
  for (const { path } of agent.folders.list()) expect(owned).toContain(path);
}
