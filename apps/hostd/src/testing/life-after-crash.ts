import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { makeTmpfsDirectory } from '../../../../test/support/kvm';
import { reclaimOrphans } from '../recovery/orphans';
import { AgentUnderTest } from './agent-under-test';
import { expectNothingLost } from './crash-invariants';
import { CRASH_LIMITS, type CrashLeftover } from './crash-leftover';
import type { ScriptedHost } from './scripted-host';
import { leavePages } from './vmm-pages';

/** Restarts an agent on what was left, sends everything again, and checks what must hold. */
export async function goOnAfterCrash(photo: CrashLeftover): Promise<void> {
  const root = makeTmpfsDirectory('volley-crash-');
  const { agent, host } = developed(photo, root.path);
  try {
    await agent.manager.recover();
    await reclaimOrphans({
      state: agent.journal.state,
      folders: agent.folders,
      log: agent.context.log,
      vmms: () =>
        host.alive().map(({ pid, startTicks, id, directory }) => ({ pid, startTicks, microvmId: id, directory })),
      kill: (pid) => host.end(host.vmms.get(pid)!, 'killed'),
    });
    for (const command of photo.commands) await agent.manager.command(command).catch(() => undefined);
    await settled(agent);
    expectNothingLost(agent, host);
  } catch (error) {
    throw new Error(`crash at ${photo.what}: ${(error as Error).message}`, { cause: error });
  } finally {
    agent.crash();
    root.remove();
  }
}

/** The host as the photo shows it, moved to `root`, with a new agent that has looked at nothing yet. */
function developed(photo: CrashLeftover, root: string): { agent: AgentUnderTest; host: ScriptedHost } {
  const data = join(root, 'data');
  const move = (directory: string): string => join(root, 'run', basename(directory));
  mkdirSync(data, { recursive: true });
  writeFileSync(join(data, 'journal'), photo.journal);
  const host = photo.host.copy(move);
  for (const folder of photo.folders) mkdirSync(move(folder), { recursive: true });
  for (const [path, content] of photo.snapshots) {
    mkdirSync(dirname(join(data, path)), { recursive: true });
    writeFileSync(join(data, path), content);
  }
  for (const vmm of host.vmms.values()) if (existsSync(vmm.directory)) leavePages(vmm.directory, vmm.pid);
  const agent = new AgentUnderTest(root, host, { limits: CRASH_LIMITS });
  // The journal remembers where folders were; here they were moved.
  for (const record of agent.journal.state.incarnations.values()) {
    if (record.identity) record.identity = { ...record.identity, directory: move(record.identity.directory) };
  }
  return { agent, host };
}

/** Nothing is under way any more: each incarnation has ended, rests or runs, and what is removed in the background is gone. */
async function settled(agent: AgentUnderTest): Promise<void> {
  for (let waited = 0; !isSettled(agent); waited++) {
    if (waited > 2_000) throw new Error('never settled');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function isSettled(agent: AgentUnderTest): boolean {
  const isSuspended = (id: string): boolean => agent.phase(id) === 'suspended';
  if (agent.drafts().length > 0 || agent.folders.list().some(({ microvmId }) => isSuspended(microvmId))) return false;
  if (agent.context.suspensions.list().some((id) => !isSuspended(id))) return false;
  return [...agent.journal.state.incarnations.values()].every(
    ({ phase, pending, erasing }) =>
      erasing === undefined &&
      (phase === 'ended' || (['running', 'paused', 'suspended'].includes(phase) && pending.length === 0)),
  );
}
