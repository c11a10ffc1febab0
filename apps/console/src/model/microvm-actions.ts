import type { MicrovmStateName } from '#protocol';
import type { MicrovmVerb } from '../api/client';

export interface MicrovmAction {
  verb: MicrovmVerb;
  label: string;
  /** Asked before it is done; the sentence says what is lost. */
  confirm: string | null;
  /** States in which it does something. The controller decides; this only spares futile clicks. */
  from: readonly MicrovmStateName[];
}

const ALIVE: readonly MicrovmStateName[] = [
  'starting',
  'running',
  'pausing',
  'paused',
  'resuming',
  'snapshotting',
  'suspending',
  'suspended',
  'restoring',
  'moving',
  'unreachable',
];
const UNBORN: readonly MicrovmStateName[] = ['requested', 'placing'];

export const MICROVM_ACTIONS: Readonly<Record<MicrovmVerb, MicrovmAction>> = {
  start: { verb: 'start', label: 'Start', confirm: null, from: ['stopped', 'failed'] },
  pause: { verb: 'pause', label: 'Pause', confirm: null, from: ['running'] },
  resume: { verb: 'resume', label: 'Resume', confirm: null, from: ['paused', 'suspended'] },
  stop: {
    verb: 'stop',
    label: 'Stop',
    confirm:
      'The guest is asked to power off, and is killed when it does not in time. What it holds in memory is lost.',
    from: [...UNBORN, ...ALIVE],
  },
  kill: {
    verb: 'kill',
    label: 'Kill',
    confirm: 'The VMM process ends at once; the guest gets no chance to save anything.',
    from: [...UNBORN, ...ALIVE, 'stopping'],
  },
  delete: {
    verb: 'delete',
    label: 'Delete',
    confirm:
      'It is ended whatever its state, and everything of it is removed. Only its history stays. There is no way back.',
    from: [...UNBORN, ...ALIVE, 'stopping', 'stopped', 'failed'],
  },
};

export const MICROVM_VERBS = Object.keys(MICROVM_ACTIONS) as MicrovmVerb[];

export function allows(state: MicrovmStateName, verb: MicrovmVerb): boolean {
  return MICROVM_ACTIONS[verb].from.includes(state);
}

/** The three buttons of a row: what lets it run or rest, what ends it, what removes it. Always in the same places. */
export function rowVerbs(state: MicrovmStateName): readonly [MicrovmVerb, MicrovmVerb, MicrovmVerb] {
  const first = allows(state, 'resume') || state === 'pausing' ? 'resume' : allows(state, 'start') ? 'start' : 'pause';
  return [first, state === 'stopping' ? 'kill' : 'stop', 'delete'];
}
