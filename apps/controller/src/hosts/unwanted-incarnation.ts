import { microvmContext, microvmState, type MicrovmEffect, type MicrovmLife } from '#lifecycle';

/** States in which nothing of the latest incarnation may be alive. */
/** States in which one may go on from where it was suspended. */
const MAY_GO_ON = ['running', 'paused', 'suspending', 'suspended', 'restoring', 'unreachable'];
const DOWN = ['stopped', 'failed', 'requested', 'placing'];

/** The history has moved on from this incarnation to a later one, another host, or deletion. */
export function isSuperseded(life: MicrovmLife, hostId: string, epoch: number): boolean {
  const context = microvmContext(life);
  if (epoch > context.epoch) return microvmState(life) === 'deleted';
  return epoch < context.epoch || context.hostId !== hostId || microvmState(life) === 'deleted';
}

/** The history says that this incarnation has ended, so if it lives on its host, it must go. A later one than the history knows is none of its business. */
export function mayNotLive(life: MicrovmLife, hostId: string, epoch: number): boolean {
  return (
    isSuperseded(life, hostId, epoch) || (DOWN.includes(microvmState(life)) && epoch === microvmContext(life).epoch)
  );
}

/** Whether the memory of a suspended one, of whatever epoch, may still be wanted on its host. */
export function isWanted(life: MicrovmLife, hostId: string): boolean {
  return microvmContext(life).hostId === hostId && MAY_GO_ON.includes(microvmState(life));
}

export function erase(hostId: string, epoch: number): MicrovmEffect {
  return { type: 'eraseOnHost', hostId, epoch };
}
