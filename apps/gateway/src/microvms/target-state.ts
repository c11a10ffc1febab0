import type { Microvm, MicrovmStateName } from '#protocol';

/** States in which a microVM stays until somebody asks for something or something happens to it. */
const RESTING: readonly MicrovmStateName[] = ['running', 'paused', 'suspended', 'stopped', 'failed', 'deleted'];

export type Progress = 'reached' | 'missed' | 'pending';

/**
 * How a microVM stands on its way to the state a caller waits for. It has missed it when it rests elsewhere: only another
 * command could still bring it there. One that ran and ended in order before anybody looked did reach `running`.
 */
export function progressTo(target: MicrovmStateName, microvm: Microvm): Progress {
  if (microvm.state === target) return 'reached';
  if (!RESTING.includes(microvm.state)) return 'pending';
  const ran = target === 'running' && microvm.state === 'stopped' && microvm.timings.runningAt !== undefined;
  return ran ? 'reached' : 'missed';
}
