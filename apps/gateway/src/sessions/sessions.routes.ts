import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { Problem } from '../http/problem';
import { route } from '../http/route';
import { MicrovmParams } from '../microvms/microvms.schemas';
import { ConsoleQuery, FilesQuery, PutAnswer, RunAnswer, RunBody } from './sessions.schemas';

const one = { tag: 'microVMs', access: 'use', params: MicrovmParams } as const;
const FAILURES = { ...REFUSALS, ...NOT_FOUND, ...CONFLICT, ...INVALID, ...AWAY };
const SOCKET = {
  101: { description: 'A WebSocket, of protocol `volley.v1` where the client offers it.' },
  426: {
    name: 'UpgradeRequired',
    description: 'This is a WebSocket; the request did not ask for one.',
    schema: Problem,
    contentType: 'application/problem+json',
  },
  ...FAILURES,
};
const MESSAGES =
  'Binary messages: a byte that says what it is, then content. From the client: 1 standard input (empty: its end), 2 resize ' +
  '(rows, columns: two bytes each, little endian), 3 signal (one byte), 34 close. From the gateway: 18 started, 16 standard ' +
  'output, 17 standard error, 32 credit (four bytes, little endian), 19 the end: JSON of `code`, `signal` or `error`. At first ' +
  'the client may send 262144 bytes of input, then as many as credit says; who sends much more is cut off. ' +
  'A browser presents its token as a further protocol: `volley.bearer.` and the token in base64url.';

export const runRoute = route({
  ...one,
  name: 'runInMicrovm',
  method: 'POST',
  path: '/v1/microvms/{id}/exec',
  summary: 'Run a command in the guest to its end, and get what it said',
  description:
    'Needs a Linux image, whose `init` runs it. Output beyond `maxOutputBytes` is thrown away and `truncated` says so. When ' +
    '`timeoutMs` is over the command is ended, and the answer holds what it said until then.',
  body: RunBody,
  responses: { 200: { description: 'It ended, or was ended.', schema: RunAnswer }, ...MALFORMED, ...FAILURES },
});

export const execRoute = route({
  ...one,
  name: 'execInMicrovm',
  method: 'GET',
  path: '/v1/microvms/{id}/exec',
  summary: 'WebSocket: run a command in the guest, with streams and, if wanted, a terminal',
  description:
    'The first message is text: JSON of `command` and, if wanted, `env`, `user`, `workdir`, `stdin` (true: there will be input) ' +
    `and \`tty\` (\`rows\`, \`columns\`). The command ends with the WebSocket. ${MESSAGES}`,
  responses: SOCKET,
});

export const consoleSocketRoute = route({
  ...one,
  name: 'consoleOfMicrovm',
  method: 'GET',
  path: '/v1/microvms/{id}/console',
  summary: 'WebSocket: its serial console, to read and to type',
  description: `Begins with the last \`historyBytes\` of what it wrote. ${MESSAGES}`,
  query: ConsoleQuery,
  responses: SOCKET,
});

export const getFilesRoute = route({
  ...one,
  name: 'getFilesOfMicrovm',
  method: 'GET',
  path: '/v1/microvms/{id}/files',
  summary: 'A file or folder of the guest, as a tar archive',
  description: 'A copy that fails on its way breaks the connection, so an archive that came whole is whole.',
  query: FilesQuery,
  responses: {
    200: {
      description: 'The archive. Its names begin with the last part of the path.',
      contentType: 'application/x-tar',
    },
    ...FAILURES,
  },
});

export const putFilesRoute = route({
  ...one,
  name: 'putFilesOfMicrovm',
  method: 'PUT',
  path: '/v1/microvms/{id}/files',
  summary: 'Copy a tar archive into the guest',
  description:
    'Where `path` is a folder, what is in the archive goes into it. Otherwise the one thing in the archive becomes `path`; with ' +
    'a slash at its end, a folder of this name is made. Nothing leaves that folder, whatever the archive says. Each file ' +
    'appears whole or not at all.',
  query: FilesQuery,
  upload: 'A tar archive, not compressed.',
  responses: { 200: { description: 'All of it is there.', schema: PutAnswer }, ...FAILURES },
});
