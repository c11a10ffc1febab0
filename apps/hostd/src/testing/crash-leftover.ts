import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { HostCommand } from '../microvms/command-rules';
import { AgentUnderTest, SNAPSHOT_FOLDERS } from './agent-under-test';
import { commandOf, type CrashStep } from './crash-steps';
import { ScriptedHost } from './scripted-host';
import { tick } from './waits';

/** What a crash leaves: the journal so far, and the processes and folders of the host. */
export interface CrashLeftover {
  /** When it crashed. */
  what: string;
  journal: Buffer;
  host: ScriptedHost;
  folders: string[];
  /** Files of snapshots, by their path in the data directory. */
  snapshots: Map<string, Buffer>;
  /** All that were sent by then. */
  commands: HostCommand[];
}

/** Short, since what never comes is waited for at hundreds of crashes. */
export const CRASH_LIMITS = { bootMs: 40, controlMs: 20, killMs: 100, replaceMs: 300 };

/** Runs the steps and photographs what a crash would leave before and after every record and every change of a process. */
export async function photographCrashes(root: string, steps: CrashStep[]): Promise<CrashLeftover[]> {
  const host = new ScriptedHost();
  const photos: CrashLeftover[] = [];
  const sent: HostCommand[] = [];
  const journalPath = join(root, 'data', 'journal');
  const take = (what: string): void => {
    photos.push({
      what: `${photos.length}: ${what}`,
      journal: readFileSync(journalPath),
      host: host.copy((directory) => directory),
      folders: agent.folders.list().map(({ path }) => path),
      snapshots: snapshotsIn(join(root, 'data')),
      commands: [...sent],
    });
  };
  const agent: AgentUnderTest = new AgentUnderTest(root, host, {
    limits: CRASH_LIMITS,
    onAppend: (when) => take(`${when} a record`),
  });
  host.onChange = () => take('a process changed');
  for (const step of steps) {
    const command = commandOf(step);
    if (command) {
      sent.push(command);
      await agent.manager.command(command).catch(() => undefined);
    } else {
      const vmm = host.alive()[0];
      if (vmm) host.end(vmm, 'killed');
    }
    for (let i = 0; i < step.wait; i++) await tick();
  }
  agent.crash();
  take('the end');
  return photos;
}

function snapshotsIn(data: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const kind of SNAPSHOT_FOLDERS) {
    for (const entry of readdirSync(join(data, kind), { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) files.set(relative(data, path), readFileSync(path));
    }
  }
  return files;
}
