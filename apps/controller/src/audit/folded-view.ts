import { Inject, Injectable } from '@nestjs/common';
import { inOrderAfter, livingGroups, type AnyLife, type LiveView, type NamedView } from '#fleet';
import type { ViewKind } from '#protocol';
import { GroupHistories } from '../groups/group-histories';
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
    private readonly groups: GroupHistories,
  ) {
    this.instance = `controller-${replicaId}`;
  }

  positionOf(kind: ViewKind): number {
    return { microvm: this.microvms, host: this.hosts, group: this.groups }[kind].position;
  }

  livesAfter(kind: ViewKind, cursor: string | undefined): Iterable<AnyLife> {
    if (kind === 'microvm') return this.microvms.index.livesAfter(cursor);
    if (kind === 'host') return inOrderAfter(this.hosts.all(), cursor);
    return inOrderAfter(livingGroups(this.groups.all()), cursor);
  }
}
