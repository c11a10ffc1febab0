import type { MicrovmSpec } from '#protocol';

/**
 * Work a transition asks for: done at least once, idempotent, by whoever runs the machine. While a state waits for
 * somebody, the effect of its entry is outstanding and is done again after a restart of the controller.
 */
export type MicrovmEffect =
  | {
      type: 'place';
      epoch: number;
      attempt: number;
      excluded: readonly string[];
      spec: MicrovmSpec;
      /** Until when it waits for a host that can take it, ms since 1970. */
      waitUntil: number;
      /** The place that is kept for it. */
      kept?: { hostId: string; receiptId: string; at: number };
    }
  /** `expiresAt`: when its host ends it by itself, ms since 1970; absent: never. */
  | { type: 'startOnHost'; hostId: string; epoch: number; spec: MicrovmSpec; expiresAt?: number }
  | { type: 'pauseOnHost'; hostId: string; epoch: number }
  | { type: 'resumeOnHost'; hostId: string; epoch: number }
  | { type: 'snapshotOnHost'; hostId: string; epoch: number; templateId: string }
  | { type: 'suspendOnHost'; hostId: string; epoch: number }
  /** Let it go on from where it was suspended. */
  | {
      type: 'restoreOnHost';
      hostId: string;
      epoch: number;
      spec: MicrovmSpec;
      expiresAt?: number;
    }
  | { type: 'stopOnHost'; hostId: string; epoch: number; timeoutMs: number }
  | { type: 'eraseOnHost'; hostId: string; epoch: number }
  /** From now on its host ends it at this instant; null: never. */
  | { type: 'expireOnHost'; hostId: string; epoch: number; expiresAt: number | null }
  /** Ask the host what the incarnation does now. */
  | { type: 'verifyOnHost'; hostId: string; epoch: number };

export type MicrovmEffectType = MicrovmEffect['type'];

export const MICROVM_EFFECTS: readonly MicrovmEffectType[] = [
  'place',
  'startOnHost',
  'pauseOnHost',
  'resumeOnHost',
  'snapshotOnHost',
  'suspendOnHost',
  'restoreOnHost',
  'stopOnHost',
  'eraseOnHost',
  'expireOnHost',
  'verifyOnHost',
];
