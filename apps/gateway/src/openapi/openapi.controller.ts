import { Controller, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Input, Serves } from '../http/route';
import { buildOpenApi } from './openapi';
import { openApiRoute } from './openapi.routes';

@Controller()
export class OpenApiController {
  #document: string | undefined;

  @Serves(openApiRoute)
  document(@Input(openApiRoute) _input: unknown, @Res({ passthrough: true }) reply: FastifyReply): string {
    reply.type('application/json; charset=utf-8');
    return (this.#document ??= JSON.stringify(buildOpenApi()));
  }
}
