import type { FastifyInstance, FastifyRequest } from 'fastify';
import { answerClientError } from './client-errors';
import { ProblemError } from './problem';

export const BODY_LIMIT = 64 * 1024;
/** How long a JSON body may take to arrive, in ms. Files may take longer. */
const ARRIVAL_MS = 30_000;
/** What is read of a body that is refused, so that its sender gets to read why, bytes. */
const READ_AWAY = 8 * 2 ** 20;

/**
 * JSON is the only body there is, but for files on the routes that take one. None at all is fine: an empty one counts as absent
 * whatever its content type says, so that `curl -X POST -d ''` works. Bodies that try to reach an object's prototype are refused.
 */
export function acceptJsonOnly(http: FastifyInstance): void {
  http.removeAllContentTypeParsers();
  const parse = http.getDefaultJsonParser('error', 'error');
  http.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    return parse(request, body as string, (error, value) => {
      if (error) done(new ProblemError(400, 'malformed', `The body is not JSON: ${error.message}`));
      else done(null, value);
    });
  });
  http.addContentTypeParser('application/octet-stream', (request, payload, done) => {
    if (takesFile(request)) return done(null, payload);
    done(new ProblemError(415, 'unsupportedMediaType', 'Send the body as application/json.'));
  });
  http.addHook('onRequest', (request, _reply, done) => {
    if (takesFile(request)) {
      if (!/^application\/octet-stream\b/.test(request.headers['content-type'] ?? '')) {
        return done(new ProblemError(415, 'unsupportedMediaType', 'Send the file as application/octet-stream.'));
      }
      return done();
    }
    limitArrival(request);
    if (request.headers['content-length'] === '0') delete request.headers['content-type'];
    done();
  });
  // A connection that is closed while something is unread is reset, and takes the answer along. Where it stays open, Node reads the rest away.
  http.addHook('onSend', (request, reply, payload, done) => {
    const { raw, headers } = request;
    if (!takesFile(request) && !raw.complete && Number(headers['content-length'] ?? 0) <= READ_AWAY) {
      reply.removeHeader('connection');
    }
    done(null, payload);
  });
}

function takesFile(request: FastifyRequest): boolean {
  return request.routeOptions.config.definition?.upload !== undefined;
}

/** The server's own limit has to allow for files. */
function limitArrival({ raw, headers }: FastifyRequest): void {
  if (raw.complete || (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0))
    return;
  const timer = setTimeout(() => {
    if (!raw.complete) answerClientError(Object.assign(new Error(), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), raw.socket);
  }, ARRIVAL_MS);
  for (const event of ['end', 'close'] as const) raw.once(event, () => clearTimeout(timer));
}
