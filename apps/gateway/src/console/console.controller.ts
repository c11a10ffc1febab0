import { Controller, Inject, Req, Res } from '@nestjs/common';
import { OperationError } from '#protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Input, Serves, type InputOf } from '../http/route';
import { ConsoleFiles, type ConsoleFile } from './console-files';
import { consoleAssetRoute, consoleRoute, faviconRoute } from './console.routes';

/** The page loads nothing from elsewhere, runs nothing inline, talks to this gateway only and cannot be framed. */
const SECURITY = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};

const NOT_BUILT = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Volley</title></head><body>
<h1>Volley runs, but its console page is not built</h1>
<p>Build it with <code>npm run build:console</code> and reload this page. The API works without it:
see <a href="/openapi.json">/openapi.json</a> and docs/api.md.</p>
</body></html>
`;

@Controller()
export class ConsoleController {
  constructor(@Inject(ConsoleFiles) private readonly files: ConsoleFiles) {}

  @Serves(consoleRoute)
  page(@Input(consoleRoute) _input: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    const file = this.files.find('index.html');
    if (file) return send(file, request, reply);
    void reply.headers(SECURITY).header('cache-control', 'no-store').type('text/html; charset=utf-8').send(NOT_BUILT);
  }

  @Serves(consoleAssetRoute)
  asset(
    @Input(consoleAssetRoute) { params }: InputOf<typeof consoleAssetRoute>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): void {
    send(this.#find(`assets/${params.file}`), request, reply);
  }

  @Serves(faviconRoute)
  favicon(@Input(faviconRoute) _input: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    send(this.#find('favicon.svg'), request, reply);
  }

  #find(path: string): ConsoleFile {
    const file = this.files.find(path);
    if (!file) throw new OperationError('notFound', `The console page has no file ${path}; reload the page.`);
    return file;
  }
}

function send(file: ConsoleFile, request: FastifyRequest, reply: FastifyReply): void {
  reply
    .headers(SECURITY)
    .header('etag', file.etag)
    .header('vary', 'accept-encoding')
    .header('cache-control', file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache');
  if (request.headers['if-none-match'] === file.etag) {
    void reply.status(304).send();
    return;
  }
  const gzip = file.gzipped !== undefined && /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  if (gzip) reply.header('content-encoding', 'gzip');
  void reply.type(file.type).send(gzip ? file.gzipped : file.content);
}
