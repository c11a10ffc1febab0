import type { hostCommand } from '#protocol';
import type { z } from 'zod';
import type { Answer, IncarnationRecord } from '../journal/host-record';
import type { HostState } from '../journal/host-state';

/** A command as the controller sends it. */
export type HostCommand = z.output<(typeof hostCommand)['request']>;
export type StartCommand = Extract<HostCommand, { type: 'start' }>;

/** What is to be done about a command. Pure: decided from the folded journal alone. */
export type Verdict =
  /** It was answered before: the same again. */
  | { kind: 'answered'; answer: Answer }
  /** `seenEpoch`: the command is of a lower one, and nobody who knows the history orders that. */
  | { kind: 'refuse'; reason: string; seenEpoch?: number }
  /** Grant or refuse a place, then start it; from where it was suspended, if there is such a one. */
  | { kind: 'admit'; suspended?: IncarnationRecord }
  /** A lower epoch of this microVM is alive here: end it, then decide again. */
  | { kind: 'endFirst'; incarnation: IncarnationRecord }
  /** That is so already, or under way. */
  | { kind: 'known' }
  /** It has ended: tell how, again. */
  | { kind: 'ended'; incarnation: IncarnationRecord }
  /** It is not here: say so, and see to it that it never starts here, or the saying would become a lie. */
  | { kind: 'absent'; superseded?: IncarnationRecord }
  /** Pause, resume, suspend, stop, or take a snapshot of this one. */
  | { kind: 'do'; incarnation: IncarnationRecord }
  /** End this one at another instant, or never. */
  | { kind: 'expire'; incarnation: IncarnationRecord }
  /** It is suspended here, and its memory shall go: it ends. */
  | { kind: 'discard'; incarnation: IncarnationRecord }
  /** Tell what it does. */
  | { kind: 'observe'; incarnation: IncarnationRecord }
  /** End and remove this one. */
  | { kind: 'erase'; incarnation: IncarnationRecord }
  /** Nothing of it is here to erase. */
  | { kind: 'erased' };

export function decide(state: HostState, command: HostCommand): Verdict {
  // A question is answered anew each time: the truth may be another one by now.
  const answer = command.type === 'verify' ? undefined : state.answers.get(command.commandId);
  if (answer) return { kind: 'answered', answer };
  switch (command.type) {
    case 'start':
      return decideStart(state, command);
    case 'erase':
      return decideErase(state, command);
    case 'verify':
      return decideVerify(state, command);
    case 'expire':
      return decideExpire(state, command);
    default:
      return decideOrder(state, command);
  }
}

const alive = (incarnation: IncarnationRecord): boolean => incarnation.phase !== 'ended';

function seenEpoch(state: HostState, microvmId: string): number {
  return Math.max(state.fences.get(microvmId) ?? 0, state.incarnations.get(microvmId)?.epoch ?? 0);
}

function tooLow(state: HostState, command: HostCommand): Verdict {
  const seen = seenEpoch(state, command.microvmId);
  const reason = `epoch ${command.epoch} is over on this host, which has seen epoch ${seen}`;
  return { kind: 'refuse', reason, ...(command.epoch < seen ? { seenEpoch: seen } : {}) };
}

function decideStart(state: HostState, command: StartCommand): Verdict {
  const held = state.incarnations.get(command.microvmId);
  if (held?.epoch === command.epoch) {
    if (held.erasing !== undefined) return tooLow(state, command);
    if (held.phase === 'suspended' && command.restore) return { kind: 'admit', suspended: held };
    return alive(held) ? { kind: 'known' } : { kind: 'ended', incarnation: held };
  }
  if (command.epoch <= seenEpoch(state, command.microvmId)) return tooLow(state, command);
  if (command.restore) return held?.phase === 'suspended' ? { kind: 'admit', suspended: held } : absent(held);
  return held && alive(held) ? { kind: 'endFirst', incarnation: held } : { kind: 'admit' };
}

/** pause, resume, snapshot, suspend, stop. */
function decideOrder(state: HostState, command: HostCommand): Verdict {
  const held = state.incarnations.get(command.microvmId);
  if (held?.phase === 'suspended' && held.epoch <= command.epoch) {
    if (command.type === 'stop') return { kind: 'discard', incarnation: held };
    if (command.type === 'suspend') return { kind: 'observe', incarnation: held };
    return { kind: 'refuse', reason: 'it is suspended' };
  }
  if (held?.epoch === command.epoch) {
    if (!alive(held)) return { kind: 'ended', incarnation: held };
    return held.erasing !== undefined && command.type !== 'stop'
      ? { kind: 'refuse', reason: 'it is being erased' }
      : { kind: 'do', incarnation: held };
  }
  if (held && held.epoch > command.epoch) return tooLow(state, command);
  return absent(held);
}

/** Of one that is not here, or has ended, there is nothing to say: whatever starts it will say when it expires. */
function decideExpire(state: HostState, command: HostCommand): Verdict {
  const held = state.incarnations.get(command.microvmId);
  return held?.epoch === command.epoch && alive(held) ? { kind: 'expire', incarnation: held } : { kind: 'known' };
}

function decideVerify(state: HostState, command: HostCommand): Verdict {
  const held = state.incarnations.get(command.microvmId);
  // A later incarnation that was to go on from it, and of which this host has not heard.
  if (held?.phase === 'suspended' && held.epoch <= command.epoch) return { kind: 'observe', incarnation: held };
  if (held?.epoch === command.epoch) return { kind: alive(held) ? 'observe' : 'ended', incarnation: held };
  return held && held.epoch > command.epoch ? { kind: 'absent' } : absent(held);
}

/** Who speaks of a higher epoch knows that a lower one must not run any more. */
function absent(held: IncarnationRecord | undefined): Verdict {
  return held && alive(held) ? { kind: 'absent', superseded: held } : { kind: 'absent' };
}

function decideErase(state: HostState, command: HostCommand): Verdict {
  const held = state.incarnations.get(command.microvmId);
  return held && held.epoch <= command.epoch ? { kind: 'erase', incarnation: held } : { kind: 'erased' };
}
