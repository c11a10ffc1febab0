import { Controller, Inject, Res } from '@nestjs/common';
import { FleetPast, RetentionMark } from '#fleet';
import type { Retention } from '#protocol';
import type { FastifyReply } from 'fastify';
import { FLEET, type Fleet } from '../fleet/fleet';
import { clientGone } from '../http/client-gone';
import { Input, Serves, type InputOf } from '../http/route';
import { filterOf } from '../microvms/list-filter';
import * as routes from './past.routes';

const iso = (ms: number): string => new Date(ms).toISOString();

/** The fleet as it was, over REST. */
@Controller()
export class PastController {
  constructor(
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(FleetPast) private readonly past: FleetPast,
    @Inject(RetentionMark) private readonly retention: RetentionMark,
  ) {}

  @Serves(routes.fleetRoute)
  async at(
    @Input(routes.fleetRoute) { query }: InputOf<typeof routes.fleetRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { at, ...list } = query;
    const signal = clientGone(reply.raw);
    const then = at === undefined ? this.fleet : await this.past.fleetAt(at, { ended: wantsEnded(list), signal });
    return {
      at: iso(at ?? Date.now()),
      ...then.list(filterOf(list)),
      ...(list.cursor === undefined ? { hosts: then.hosts(), groups: then.groups() } : {}),
      states: then.countByState(),
      compactedBefore: await this.#compactedAfter(at),
    };
  }

  @Serves(routes.fleetDiffRoute)
  async diff(
    @Input(routes.fleetDiffRoute) { query }: InputOf<typeof routes.fleetDiffRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { from, to = Date.now(), limit, cursor } = query;
    const diff = await this.past.diff(from, to, clientGone(reply.raw));
    const rest = cursor === undefined ? diff.changes : diff.changes.filter(({ id }) => id > cursor);
    const items = rest.slice(0, limit);
    return {
      from: iso(from),
      to: iso(to),
      sums: diff.sums,
      states: { from: diff.from.countByState(), to: diff.to.countByState() },
      items,
      nextCursor: rest.length > limit ? items.at(-1)!.id : null,
      ...(cursor === undefined ? { hosts: diff.hosts, groups: diff.groups } : {}),
      compactedBefore: await this.#compactedAfter(from),
    };
  }

  @Serves(routes.coresidencyRoute)
  async coresidency(
    @Input(routes.coresidencyRoute) { query }: InputOf<typeof routes.coresidencyRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { tenant, from, to = Date.now() } = query;
    const found = await this.past.coresidency(tenant, { from, to }, clientGone(reply.raw));
    return { tenant, from: iso(from), to: iso(to), ...found };
  }

  @Serves(routes.retentionRoute)
  kept(@Input(routes.retentionRoute) _input: unknown): Promise<Retention> {
    return this.retention.read();
  }

  /** Until when deleted microVMs may be missing from the picture of an instant; null: all are there. */
  async #compactedAfter(at: number | undefined): Promise<string | null> {
    if (at === undefined) return null;
    const { compactedBefore } = await this.retention.read();
    return compactedBefore !== null && compactedBefore > at ? iso(compactedBefore) : null;
  }
}

const wantsEnded = ({ state }: { state?: readonly string[] | undefined }): boolean =>
  state?.includes('deleted') ?? false;
