import { Injectable } from '@nestjs/common';
import { wallClockMs } from '#journal';
import { OperationError, type DrainOrder, type DrainPlan } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { takeCensus, turnOf } from './drain-census';
import { planOf, usualStartMs } from './drain-plan';
import { DRY_RUN_MOST, PlacesElsewhere } from './places-elsewhere';

/** Says what a drain would do now, by the same code that does it. */
@Injectable()
export class PreviewDrain {
  constructor(
    private readonly hosts: HostHistories,
    private readonly microvms: MicrovmHistories,
    private readonly places: PlacesElsewhere,
  ) {}

  /** @throws OperationError `notFound`, or what the placement service answers. */
  async execute(hostId: string, order: DrainOrder): Promise<DrainPlan> {
    if (!this.hosts.get(hostId)) throw new OperationError('notFound', `there is no host ${hostId}`);
    const { alive } = takeCensus(hostId, wallClockMs(), this.microvms.index.values());
    const movable = alive.filter((life) => turnOf(life, order) === 'move').slice(0, DRY_RUN_MOST);
    const found = await this.places.lookFor(movable, hostId);
    return planOf({
      hostId,
      order,
      at: wallClockMs(),
      alive,
      places: new Map(movable.map((life, i) => [life.id, found[i]!])),
      startMs: usualStartMs(this.microvms.index.values()),
    });
  }
}
