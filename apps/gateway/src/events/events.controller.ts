import { Controller, Inject, Req, Res } from '@nestjs/common';
import { LOGGER, SHUTDOWN } from '#bus';
import { OperationError } from '#protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { AuditTrail } from '../audit/audit-trail';
import { FLEET, type Fleet } from '../fleet/fleet';
import { Input, Serves, type InputOf } from '../http/route';
import { GatewayMetrics } from '../metrics/gateway-metrics';
import { Principals } from '../tenancy/principals';
import { VisibleFleet } from '../tenancy/visible-fleet';
import { ChangeLog } from './change-log';
import { EventStream } from './event-stream';
import { eventsRoute } from './events.routes';
import { JournalPages } from './history-pages';
import { parsePosition } from './position';

const HEARTBEAT_MS = 15_000;
const STALL_MS = 20_000;
const MAX_STREAMS = 1_000;

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
  // A stream that ends takes its connection with it, so that shutting down never waits for it.
  connection: 'close',
};

@Controller()
export class EventsController {
  #streams = 0;

  constructor(
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(ChangeLog) private readonly log: ChangeLog,
    @Inject(JournalPages) private readonly history: JournalPages,
    @Inject(VisibleFleet) private readonly visible: VisibleFleet,
    @Inject(Principals) private readonly principals: Principals,
    @Inject(AuditTrail) private readonly audit: AuditTrail,
    @Inject(GatewayMetrics) private readonly metrics: GatewayMetrics,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  @Serves(eventsRoute)
  async follow(
    @Input(eventsRoute) { query, headers, who }: InputOf<typeof eventsRoute>,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    if (this.shutdown.aborted) throw new OperationError('unavailable', 'the gateway is shutting down');
    if (this.#streams >= MAX_STREAMS) {
      throw new OperationError('unavailable', `${MAX_STREAMS} streams are open already; close some, or come back`);
    }
    if (request.method === 'HEAD') {
      await reply.headers(HEADERS).send();
      return;
    }
    const lastId = headers['last-event-id'];
    const from = lastId === undefined ? undefined : parsePosition(lastId, this.log.head);
    reply.hijack();
    const out = reply.raw;
    out.writeHead(200, HEADERS);
    this.audit.begun(request, reply, 200);
    this.metrics.eventStreams.set(++this.#streams);
    try {
      const stream = new EventStream(out, this.fleet, this.log, this.history, {
        from,
        microvmId: query.microvm,
        groupId: query.group,
        view: this.visible.viewOf(who),
        ownerOf: (id) => this.visible.ownerOf(id),
        tokenEnd: this.principals.endOf(who),
        heartbeatMs: HEARTBEAT_MS,
        stallMs: STALL_MS,
        shutdown: this.shutdown,
      });
      this.metrics.eventStreamEnds.inc({ reason: await stream.run() });
    } catch (error) {
      // The head is sent, so there is nothing left to answer: the client comes back with its last event id.
      this.metrics.eventStreamEnds.inc({ reason: 'failed' });
      this.logger.warn({ err: error }, 'an event stream failed');
    } finally {
      this.metrics.eventStreams.set(--this.#streams);
    }
  }
}
