import type { ProcessStatus } from '../supervisor/supervised-process';
import type { SupervisorState } from '../supervisor/supervisor-state';

/** So many short lives in a row while starting mean that it will not work. */
const HOPELESS = 5;

/**
 * A process that cannot work as it is. What an earlier supervisor has left in the folder says nothing about this one; without a pid,
 * whoever runs now is meant.
 */
export function hopelessProcess(state: SupervisorState | undefined, supervisorPid?: number): ProcessStatus | undefined {
  if (!state || state.phase === 'down') return undefined;
  if (supervisorPid !== undefined && state.supervisor.pid !== supervisorPid) return undefined;
  return state.processes.find(({ shortLives }) => shortLives >= HOPELESS);
}
