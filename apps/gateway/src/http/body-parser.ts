import type { FastifyInstance } from 'fastify';
import { ProblemError } from './problem';

export const BODY_LIMIT = 64 * 1024;

/**
 * JSON is the only body there is, and none at all is fine: an empty one counts as absent whatever its content type says, so
 * that `curl -X POST -d ''` works. Bodies that try to reach an object's prototype are refused.
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
  http.addHook('onRequest', (request, _reply, done) => {
    if (request.headers['content-length'] === '0') delete request.headers['content-type'];
    done();
  });
}
