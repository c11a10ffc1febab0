import type { VmmIdentity } from '#microvm';
import type { Coresidency, Exit, GuardAct, HostFact, MicrovmSpec, PolicyHeld } from '#protocol';
import type { Expiry } from '../microvms/expiry';

/** A command that waits to be done on an incarnation that is here. */
export type PendingCommand =
  | { type: 'pause' | 'resume'; commandId: string }
  | { type: 'snapshot'; commandId: string; templateId: string }
  /** idle: the host's own, and what its history will say about it. */
  | { type: 'suspend'; commandId: string; idle?: string }
  /** killAt: wall clock, ms. idle: the host's own, and what its history will say about it. */
  | { type: 'stop'; commandId: string; killAt: number; idle?: string };

/**
 * What an incarnation does, as far as the journal knows. `admitted`: granted, its process may or may not exist yet. `suspended`: its memory
 * is on the disk, it holds no place.
 */
export type Phase = 'admitted' | 'launched' | 'running' | 'paused' | 'suspended' | 'ended';

/** Whether it holds a slot and its share of the host. */
export function holdsPlace({ phase }: { phase: Phase }): boolean {
  return phase !== 'ended' && phase !== 'suspended';
}

/** One incarnation of a microVM that this host holds, alive or as remains. */
export interface IncarnationRecord {
  microvmId: string;
  epoch: number;
  spec: MicrovmSpec;
  /** Of its tenant when it was admitted; absent: it shares with everybody. */
  coresidency?: Coresidency;
  phase: Phase;
  /** Wall clock, ms. */
  receivedAt: number;
  admittedAt: number;
  /** The place it holds until it has ended; absent in records of older agents. */
  slot?: number;
  /** When this host ends it by itself. */
  expiry?: Expiry;
  /** It goes on from where an earlier incarnation of it was suspended here. */
  restored?: true;
  /** In place of its spec's, since it was changed. */
  metadata?: Record<string, string>;
  /** How often the kernel had killed for memory in its place before it came. */
  oomKills?: number;
  /** From `launched` on. */
  identity?: VmmIdentity;
  /** When `ended`. */
  exit?: Exit;
  /** Accepted and not done yet, in order. */
  pending: PendingCommand[];
  /** An erase was accepted: it is being ended and removed, and epochs up to this one never start here again. */
  erasing?: number;
}

/** A fact that the controller has not acknowledged yet. `factId` names it for ever, also when it is told twice. */
export interface OutboxFact {
  factId: string;
  microvmId: string;
  at: number;
  fact: HostFact;
}

/** What guards did that the controller has not acknowledged yet. */
export interface OutboxActs {
  factId: string;
  acts: GuardAct[];
  /** How many more there were that are not kept one by one. */
  omitted: number;
}

export interface Answer {
  accepted: boolean;
  reason?: string;
}

interface OfIncarnation {
  microvmId: string;
  epoch: number;
}

export type Change =
  /** Takes the place of the remains of a lower epoch: a host holds one incarnation of a microVM. */
  | (OfIncarnation & {
      type: 'admitted';
      spec: MicrovmSpec;
      coresidency?: Coresidency;
      slot?: number;
      receivedAt: number;
      admittedAt: number;
      expiry?: Expiry;
      restored?: true;
    })
  | (OfIncarnation & { type: 'launched'; identity: VmmIdentity; oomKills?: number })
  | (OfIncarnation & { type: 'metadata'; values: Record<string, string> })
  /** Absent: never. */
  | (OfIncarnation & { type: 'expiry'; expiry?: Expiry })
  | (OfIncarnation & { type: 'running' })
  | (OfIncarnation & { type: 'paused' })
  /** Of one that is suspended already, as a lower epoch: it goes by this one now. */
  | (OfIncarnation & { type: 'suspended' })
  | (OfIncarnation & { type: 'ended'; exit: Exit })
  | (OfIncarnation & { type: 'erasing'; upTo: number })
  /** Nothing of this epoch or a lower one is left here, and none of them starts here again. */
  | (OfIncarnation & { type: 'gone' })
  /** This epoch and lower ones never start here again. */
  | (OfIncarnation & { type: 'fenced' });

/** One line of the journal: everything in it happens, or nothing. */
export interface HostRecord {
  /** Wall clock, ms; for people. */
  at: number;
  change?: Change;
  /** The answer given to a command, so that a repeat gets the same. */
  answer?: Answer & { commandId: string };
  pending?: OfIncarnation & { command: PendingCommand };
  /** A pending command was done, or failed for good. */
  done?: OfIncarnation & { commandId: string };
  facts?: OutboxFact[];
  /** What this host goes by from now on, also when nobody can be asked. */
  policy?: PolicyHeld;
  guardActs?: OutboxActs;
  /** Ids of facts and of acts that the controller has acknowledged. */
  acked?: string[];
  /** Parts of a compacted journal. */
  snapshot?: {
    incarnations?: IncarnationRecord[];
    fences?: [microvmId: string, epoch: number][];
    answers?: [commandId: string, answer: Answer][];
    outbox?: OutboxFact[];
    guardActs?: OutboxActs[];
  };
}
