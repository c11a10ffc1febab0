/**
 * The lawful moves between states, written down by hand and on purpose not taken from the machine: a checker that shares code
 * with what it checks repeats its mistakes.
 */
export const LEGAL_MOVES: Record<string, readonly string[]> = {
  none: ['requested', 'placing'],
  requested: ['placing', 'failed', 'stopped', 'deleting', 'deleted'],
  placing: ['starting', 'requested', 'failed', 'stopped', 'deleting', 'deleted'],
  starting: ['running', 'placing', 'failed', 'requested', 'stopped', 'stopping', 'unreachable', 'deleting'],
  running: [
    'pausing',
    'paused',
    'moving',
    'stopping',
    'stopped',
    'failed',
    'requested',
    'placing',
    'unreachable',
    'deleting',
  ],
  pausing: ['paused', 'running', 'stopping', 'stopped', 'failed', 'requested', 'placing', 'unreachable', 'deleting'],
  paused: [
    'resuming',
    'running',
    'moving',
    'stopping',
    'stopped',
    'failed',
    'requested',
    'placing',
    'unreachable',
    'deleting',
  ],
  resuming: ['running', 'paused', 'stopping', 'stopped', 'failed', 'requested', 'placing', 'unreachable', 'deleting'],
  moving: ['moving', 'placing', 'stopping', 'unreachable', 'deleting'],
  stopping: ['stopping', 'stopped', 'deleting'],
  stopped: ['placing', 'deleting', 'deleted'],
  failed: ['placing', 'deleting', 'deleted'],
  unreachable: [
    'running',
    'paused',
    'stopping',
    'stopped',
    'failed',
    'requested',
    'placing',
    'unreachable',
    'deleting',
  ],
  deleting: ['deleting', 'deleted'],
  deleted: [],
};

/** Events that change something of a microVM, and never its state; before it is being deleted. */
export const KEEPS_STATE: readonly string[] = ['tuned', 'protectionSet', 'placementWaits'];

/** States in which nobody owes anybody anything: where a fleet without faults comes to rest. */
export const RESTING: readonly string[] = ['running', 'paused', 'stopped', 'failed', 'deleted'];

/** States in which the incarnation of the latest epoch must be alive on its host. */
export const ALIVE: readonly string[] = ['running', 'paused'];
