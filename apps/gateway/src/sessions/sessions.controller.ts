import { Readable } from 'node:stream';
import { Controller, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { onAbort } from '#concurrency';
import { OperationError, SessionOpen, type SessionEnd } from '#protocol';
import { clientGone } from '../http/client-gone';
import { ProblemError } from '../http/problem';
import { Input, Serves, type InputOf } from '../http/route';
import { FileStream } from './file-stream';
import type { GuestSession } from './guest-session';
import { runCommand } from './run-command';
import { SessionOpener } from './session-opener';
import * as routes from './sessions.routes';

type ExecOpen = Extract<SessionOpen, { kind: 'exec' }>;

/** What goes on inside of microVMs: commands and files. WebSockets come in elsewhere, see {@link SessionSockets}. */
@Controller()
export class SessionsController {
  constructor(@Inject(SessionOpener) private readonly opener: SessionOpener) {}

  @Serves(routes.runRoute)
  async run(
    @Input(routes.runRoute) { who, params, body }: InputOf<typeof routes.runRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { stdin, encoding, timeoutMs, maxOutputBytes, ...what } = body;
    const open = SessionOpen.parse({ kind: 'exec', ...what, stdin: stdin !== undefined }) as ExecOpen;
    const gone = clientGone(reply.raw);
    const place = await this.opener.place(who, params.id);
    const input = Buffer.from(stdin ?? '', encoding);
    const result = await runCommand(this.opener, place, open, input, { timeoutMs, maxOutputBytes }, gone);
    const { end, stdout, stderr, truncated, timedOut } = result;
    if (!timedOut) throwFailure(end);
    return {
      exitCode: end.code ?? null,
      signal: end.signal ?? null,
      stdout: stdout.toString(encoding),
      stderr: stderr.toString(encoding),
      truncated,
      timedOut,
    };
  }

  @Serves(routes.execRoute)
  exec(@Input(routes.execRoute) _input: unknown): never {
    throw upgradeRequired();
  }

  @Serves(routes.consoleSocketRoute)
  console(@Input(routes.consoleSocketRoute) _input: unknown): never {
    throw upgradeRequired();
  }

  @Serves(routes.getFilesRoute)
  async getFiles(
    @Input(routes.getFilesRoute) { who, params, query }: InputOf<typeof routes.getFilesRoute>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const place = await this.opener.place(who, params.id);
    const files = await FileStream.open(this.opener, place, query.path);
    reply.type('application/x-tar');
    if (request.method === 'HEAD') {
      files.destroy();
      await reply.send();
      return;
    }
    // A client that goes away ends the copy.
    onAbort(clientGone(reply.raw), () => files.destroy());
    await reply.send(files);
  }

  @Serves(routes.putFilesRoute)
  async putFiles(
    @Input(routes.putFilesRoute) { who, params, query }: InputOf<typeof routes.putFilesRoute>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const place = await this.opener.place(who, params.id);
    const session = await this.opener.open(place, { kind: 'put', path: query.path }, { output: () => undefined });
    // Whatever happens, what is left of the body is not waited for.
    reply.header('connection', 'close');
    onAbort(clientGone(reply.raw), () => session.close());
    await send((request.body as Readable | undefined) ?? request.raw, session);
    throwFailure(await session.ended);
    return { path: query.path };
  }
}

/** Sends a body as it comes; gives up when the session ends before. */
async function send(body: Readable, session: GuestSession): Promise<void> {
  try {
    for await (const chunk of body.iterator({ destroyOnReturn: false })) await session.write(chunk as Buffer);
    session.endInput();
  } catch {
    // The session is over and has said why, or the client has gone: half an archive must not pass for a whole one.
    session.close();
  }
}

/** @throws OperationError */
function throwFailure({ error }: SessionEnd): void {
  if (error) throw new OperationError(error.code, error.message, error.details);
}

function upgradeRequired(): ProblemError {
  return new ProblemError(426, 'badRequest', 'This is a WebSocket: ask for one, with Upgrade: websocket.', {
    headers: { upgrade: 'websocket' },
  });
}
