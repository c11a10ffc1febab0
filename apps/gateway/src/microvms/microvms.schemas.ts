import {
  HistoryEntry,
  Microvm,
  MicrovmId,
  MicrovmStateName,
  createMicrovm,
  hostLog,
  microvmHistoryOf,
} from '#protocol';
import { z } from 'zod';
import { InstantText, count, duration, repeated } from '../http/query-types';

export const MAX_WAIT_MS = 300_000;
export const DEFAULT_WAIT_MS = 30_000;

/** A value that does not fit is an id that cannot exist. */
export const MicrovmParams = z.strictObject({ id: MicrovmId.describe('Id of the microVM.') });

/** Same limits as on the bus, where it is the command id. */
export const IdempotencyHeaders = z.object({
  'idempotency-key': createMicrovm.request.shape.idempotencyKey.describe(
    'Names this request: sent again with the same key, it is done once and answered the same.',
  ),
});

/** `?wait=STATE&timeout=20s` of a command that leads to one state. */
export function waitQuery<const State extends MicrovmStateName>(state: State) {
  return z
    .strictObject({
      wait: z.literal(state, `can only be '${state}' here`).optional().describe('Answer when it is in this state.'),
      timeout: duration(MAX_WAIT_MS)
        .optional()
        .describe(
          `How long to wait: '500ms', '20s', '2m'. At most ${MAX_WAIT_MS / 1000}s, else ${DEFAULT_WAIT_MS / 1000}s.`,
        ),
    })
    .refine(({ wait, timeout }) => timeout === undefined || wait !== undefined, {
      error: 'means nothing without wait',
      path: ['timeout'],
    });
}

const Label = z.string().regex(/^[^=]+=/s, 'must be KEY=VALUE');

export const ListQuery = z.strictObject({
  state: repeated(MicrovmStateName)
    .optional()
    .describe('Only these states; may be repeated. Deleted ones are listed only when asked for.'),
  host: z.string().max(63).optional().describe('Only on this host.'),
  tenant: z.string().max(63).optional(),
  image: z.string().max(255).optional(),
  name: z.string().max(63).optional().describe('Only with exactly this name.'),
  label: repeated(Label).optional().describe('KEY=VALUE; may be repeated, every one must match.'),
  limit: count(1, 1000).prefault('100').describe('Most items of one page.'),
  cursor: MicrovmId.optional().describe('`nextCursor` of the page before.'),
});

export const MicrovmList = z.strictObject({
  items: z.array(Microvm),
  /** Null on the last page. */
  nextCursor: z.string().nullable(),
});

/** Query of what can also be read as it was. */
export const AtQuery = z.strictObject({
  at: InstantText.optional().describe('As it was at this instant: ISO 8601 with a zone, or ms since 1970.'),
});

export const HistoryQuery = z.strictObject({
  at: InstantText.optional().describe(
    'Only what had happened by then, and the microVM as it was: ISO 8601 with a zone, or ms since 1970.',
  ),
});
export const History = microvmHistoryOf.reply;
export { HistoryEntry };

export const LogQuery = z.strictObject({
  since: count(0, Number.MAX_SAFE_INTEGER).optional().describe('First byte wanted: the `to` of the answer before.'),
  maxBytes: count(1, 65_536).optional().describe('At most this much; the end of it when there is more.'),
});
export const Log = hostLog.reply;

export const EmptyBody = z.strictObject({});
export const ProtectionBody = z.strictObject({
  enabled: z.boolean().describe('Whether deleting it is refused from now on.'),
});

export const StopBody = z.strictObject({
  timeoutMs: z
    .int()
    .min(0)
    .max(600_000)
    .optional()
    .describe('ms the guest has to power off before it is killed; when absent, the stopTimeoutSeconds of its spec.'),
});
