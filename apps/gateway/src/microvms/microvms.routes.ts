import { Microvm, MicrovmSpec, placementOf, Tuning, type MicrovmStateName } from '#protocol';
import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_DONE, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';
import {
  AtQuery,
  EmptyBody,
  History,
  HistoryQuery,
  IdempotencyHeaders,
  ListQuery,
  Log,
  LogQuery,
  MicrovmList,
  MicrovmParams,
  ProtectionBody,
  StopBody,
  waitQuery,
} from './microvms.schemas';

const shared = { tag: 'microVMs', access: 'use' } as const;
const one = { ...shared, params: MicrovmParams } as const;
const view = { access: 'view' } as const;

export const createRoute = route({
  ...shared,
  name: 'createMicrovm',
  method: 'POST',
  path: '/v1/microvms',
  summary: 'Create a microVM and start it',
  description:
    'Answered 202 as soon as the request is durable. With `wait=running`: 201 when it runs, 409 when it came to rest in another state, ' +
    '202 with the current view when time is up (it goes on).',
  query: waitQuery('running'),
  headers: IdempotencyHeaders,
  body: MicrovmSpec,
  responses: {
    201: { description: 'It runs.', schema: Microvm, headers: { Location: 'Where it is.' } },
    202: {
      description: 'Accepted and durable; it is being started.',
      schema: Microvm,
      headers: { Location: 'Where it is.' },
    },
    ...MALFORMED,
    ...REFUSALS,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});

export const listRoute = route({
  ...shared,
  ...view,
  name: 'listMicrovms',
  method: 'GET',
  path: '/v1/microvms',
  summary: 'List microVMs, oldest first',
  query: ListQuery,
  responses: { 200: { description: 'One page.', schema: MicrovmList }, ...REFUSALS, ...INVALID },
});

export const getRoute = route({
  ...one,
  ...view,
  name: 'getMicrovm',
  method: 'GET',
  path: '/v1/microvms/{id}',
  summary: 'Read one microVM, deleted ones included, as it is or as it was',
  query: AtQuery,
  responses: { 200: { description: 'The microVM.', schema: Microvm }, ...REFUSALS, ...NOT_FOUND, ...INVALID, ...AWAY },
});

/** A command answers 202 when accepted; with `wait`, 200 when the state is reached, 409 when missed, 202 when time is up. */
const COMMAND_RESPONSES = {
  200: { description: 'It is in the awaited state.', schema: Microvm },
  202: { description: 'Accepted and durable; it is under way.', schema: Microvm },
  ...NOT_DONE,
};

const command = <const Name extends string, const State extends MicrovmStateName>(
  name: Name,
  state: State,
  summary: string,
) =>
  ({
    ...one,
    name: `${name}Microvm`,
    method: 'POST',
    path: `/v1/microvms/{id}/${name}`,
    summary,
    query: waitQuery(state),
    headers: IdempotencyHeaders,
    responses: COMMAND_RESPONSES,
  }) as const;

export const pauseRoute = route({ ...command('pause', 'paused', 'Park its vCPUs; its memory stays'), body: EmptyBody });
export const resumeRoute = route({
  ...command('resume', 'running', 'Let a paused or suspended microVM go on'),
  body: EmptyBody,
});
export const suspendRoute = route({
  ...command('suspend', 'suspended', 'Put its memory on the disk of its host, and give its place there to others'),
  body: EmptyBody,
});
export const startRoute = route({
  ...command('start', 'running', 'Start a stopped or failed microVM again'),
  body: EmptyBody,
});
export const killRoute = route({ ...command('kill', 'stopped', 'End its VMM at once'), body: EmptyBody });
export const stopRoute = route({
  ...command('stop', 'stopped', 'Press its power button; kill it when it does not power off in time'),
  body: StopBody,
});

export const protectionRoute = route({
  ...one,
  name: 'setMicrovmProtection',
  method: 'POST',
  path: '/v1/microvms/{id}/protection',
  summary: 'Protect it from being deleted, or lift that protection',
  description:
    'While it is protected, a delete is answered with a conflict, and its time to live does not end it. Lifting the protection of one whose ' +
    'time to live is over deletes it.',
  headers: IdempotencyHeaders,
  body: ProtectionBody,
  responses: {
    200: { description: 'It is protected, or not.', schema: Microvm },
    ...NOT_DONE,
  },
});

export const tuneRoute = route({
  ...one,
  name: 'tuneMicrovm',
  method: 'POST',
  path: '/v1/microvms/{id}/tune',
  summary: 'Change its limits, balloon or metadata while it runs, or press Ctrl-Alt-Del',
  description: 'Answered when its host has taken the change over. It lasts as long as this incarnation.',
  headers: IdempotencyHeaders,
  body: Tuning,
  responses: {
    200: { description: 'It is changed.', schema: Microvm },
    ...NOT_DONE,
  },
});

export const deleteRoute = route({
  ...one,
  name: 'deleteMicrovm',
  method: 'DELETE',
  path: '/v1/microvms/{id}',
  summary: 'End it whatever its state, and free everything; its history stays',
  query: waitQuery('deleted'),
  headers: IdempotencyHeaders,
  body: EmptyBody,
  responses: COMMAND_RESPONSES,
});

export const historyRoute = route({
  ...one,
  ...view,
  name: 'getMicrovmHistory',
  method: 'GET',
  path: '/v1/microvms/{id}/history',
  summary: 'Every step of its life, and the microVM as of now or of an instant',
  query: HistoryQuery,
  responses: { 200: { description: 'The history.', schema: History }, ...REFUSALS, ...NOT_FOUND, ...INVALID, ...AWAY },
});

export const placementRoute = route({
  ...one,
  ...view,
  name: 'getMicrovmPlacement',
  method: 'GET',
  path: '/v1/microvms/{id}/placement',
  summary: 'The receipts of its placements, oldest first: every host, filter and score',
  responses: {
    200: { description: 'The receipts.', schema: placementOf.reply },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const logRoute = route({
  ...one,
  ...view,
  name: 'getMicrovmLog',
  method: 'GET',
  path: '/v1/microvms/{id}/log',
  summary: 'The end of its serial console',
  description:
    'Plain text, or JSON with the byte positions when `Accept: application/json` asks for it. ' +
    'Send the `to` of one answer as `since` of the next to read on.',
  query: LogQuery,
  responses: {
    200: {
      description: 'The text. As JSON: `from` and `to` are byte positions since its first start.',
      schema: Log,
      contentType: 'text/plain',
      headers: { 'Volley-Log-From': 'Position of the first byte.', 'Volley-Log-To': 'Position after the last byte.' },
    },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});
