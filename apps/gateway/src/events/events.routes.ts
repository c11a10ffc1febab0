import {
  GroupHistoryEntry,
  GroupId,
  GroupSummary,
  Host,
  HostRecord,
  Microvm,
  MicrovmId,
  MicrovmRecord,
} from '#protocol';
import { z } from 'zod';
import { AWAY, INVALID, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';
import { POSITION_PATTERN } from './position';

/** Data of an event `microvm`: one record of a history, and the microVM as of it or later. */
export const MicrovmChange = z.strictObject({
  sequence: z.int(),
  /** Null in a replay, when it was deleted long ago. */
  microvm: Microvm.nullable(),
  record: MicrovmRecord,
});

/** Data of an event `host`. */
export const HostChange = z.strictObject({ sequence: z.int(), host: Host.nullable(), record: HostRecord });

/** Data of an event `group`. */
export const GroupChange = z.strictObject({ sequence: z.int(), group: GroupSummary, record: GroupHistoryEntry });

export const FleetChangeData = z.union([MicrovmChange, HostChange, GroupChange]);

export const eventsRoute = route({
  tag: 'fleet',
  access: 'view',
  name: 'followEvents',
  method: 'GET',
  path: '/v1/events',
  summary: 'Every change of the fleet as it happens, as server-sent events',
  description:
    'Events `microvm`, `host` and `group`, each a record of a history with the current view of its subject; `reset` when the ' +
    'histories do not reach back to the last event id: read everything anew. Comments keep the connection alive. Come back with ' +
    '`Last-Event-ID` and nothing is missed, however long ago that was; `0.0.0` replays everything. A client that does not read is cut off.',
  query: z
    .strictObject({
      microvm: MicrovmId.optional().describe('Only the changes of this microVM.'),
      group: GroupId.optional().describe('Only the changes of this group; its members are microVMs.'),
    })
    .refine(({ microvm, group }) => microvm === undefined || group === undefined, {
      path: ['group'],
      message: 'cannot be asked for together with a microVM; open two streams',
    }),
  headers: z.object({
    'last-event-id': z
      .string()
      .regex(POSITION_PATTERN, 'must be the id of an event of this stream')
      .optional()
      .describe('Id of the last event seen.'),
  }),
  responses: {
    200: { description: 'The stream.', schema: FleetChangeData, contentType: 'text/event-stream' },
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});
