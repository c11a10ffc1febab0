import { Inject, Injectable } from '@nestjs/common';
import { hostsAfter, type AnyLife, type LiveView, type NamedView } from '#fleet';
import type { ViewKind } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { REPLICA_ID } from '../partitions/partitions';

/** What this controller decides on, for audits: they compare it with the histories. */
@Injectable()
export class FoldedView implements NamedView, LiveView {
  readonly service = 'controller';
  readonly view = this;
  readonly instance: string;

  constructor(
    @Inject(REPLICA_ID) replicaId: string,
    private readonly microvms: MicrovmHistories,
    private readonly hosts: HostHistories,
  ) {
    this.instance = `controller-${replicaId}`;
  }

  positionOf(kind: ViewKind): number {
    return (kind === 'microvm' ? this.microvms : this.hosts).position;
  }

  livesAfter(kind: ViewKind, cursor: string | undefined): Iterable<AnyLife> {
    return kind === 'microvm' ? this.microvms.index.livesAfter(cursor) : hostsAfter(this.hosts.all(), cursor);
  }
}
