import { readFileSync } from 'node:fs';
import type { VmmChoice } from '#protocol';
import { type DataFolder, writeWhole } from './data-folder';
import type { ProcessIdentity } from './process-identity';
import type { ProcessStatus } from './supervised-process';

export type SupervisorPhase = 'starting' | 'up' | 'stopping' | 'down';

/** What a supervisor tells about itself in `supervisor.json`, for `status`, `down` and every command that looks for the URL. */
export interface SupervisorState {
  supervisor: ProcessIdentity;
  phase: SupervisorPhase;
  /** ms since 1970 */
  since: number;
  url: string;
  /** Absent: `kvm`. */
  vmm?: VmmChoice;
  processes: ProcessStatus[];
}

export function writeState(folder: DataFolder, state: SupervisorState): void {
  writeWhole(folder.stateFile, `${JSON.stringify(state, null, 2)}\n`);
}

export function readState(folder: DataFolder): SupervisorState | undefined {
  try {
    return parseState(readFileSync(folder.stateFile, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Undefined: it is none. */
export function parseState(text: string): SupervisorState | undefined {
  try {
    return JSON.parse(text) as SupervisorState;
  } catch {
    return undefined;
  }
}
