import { MicrovmSpec } from '#protocol';
import type { HostCommand, StartCommand } from '../microvms/command-rules';

/** What is ordered of a microVM by its id and epoch alone. */
export type PlainOrder = 'pause' | 'resume' | 'suspend' | 'erase' | 'verify';

let made = 0;
/** Each command has another id: an agent answers one that it knows with its first answer. */
const nextCommandId = (): string => `c${++made}`;

/** The words of the command line are for the scripted VMM. */
export const spec = (cmdline = ''): MicrovmSpec => MicrovmSpec.parse({ image: 'canary', cmdline, memoryMiB: 64 });

export const start = (microvmId: string, epoch = 1, cmdline = ''): StartCommand => ({
  type: 'start',
  commandId: nextCommandId(),
  microvmId,
  epoch,
  spec: spec(cmdline),
});

/** The start of one whose spec is another one in this. */
export const startWith = (microvmId: string, change: Partial<MicrovmSpec>): StartCommand => ({
  ...start(microvmId),
  spec: { ...spec(), ...change },
});

/** The start of one that runs elsewhere when its host is lost, and so must not run on here. */
export const startMovable = (microvmId: string): StartCommand => startWith(microvmId, { onHostLoss: 'reschedule' });

/** To go on from where it was suspended. */
export const restore = (microvmId: string, epoch: number): StartCommand => ({
  ...start(microvmId, epoch),
  restore: true,
});

export const order = (type: PlainOrder, microvmId: string, epoch = 1): HostCommand => ({
  type,
  commandId: nextCommandId(),
  microvmId,
  epoch,
});

export const snapshot = (microvmId: string, templateId: string, epoch = 1): HostCommand => ({
  type: 'snapshot',
  commandId: nextCommandId(),
  microvmId,
  epoch,
  templateId,
});

/** After `timeoutMs`, by force. */
export const stop = (microvmId: string, timeoutMs: number, epoch = 1): HostCommand => ({
  type: 'stop',
  commandId: nextCommandId(),
  microvmId,
  epoch,
  timeoutMs,
});

/** To end at `expiresAt`, ms of the wall clock; null: never. */
export const expire = (microvmId: string, expiresAt: number | null): HostCommand => ({
  type: 'expire',
  commandId: nextCommandId(),
  microvmId,
  epoch: 1,
  expiresAt,
});
