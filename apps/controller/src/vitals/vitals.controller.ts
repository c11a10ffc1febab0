import { Controller } from '@nestjs/common';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { z } from 'zod';
import { Handles } from '#bus';
import { controllerVitals } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';

/** Tells how this one controller does. */
@Controller()
export class VitalsController {
  constructor(
    private readonly partitions: Partitions,
    private readonly histories: MicrovmHistories,
  ) {}

  @Handles(controllerVitals)
  vitals({ collect }: z.output<(typeof controllerVitals)['request']>) {
    if (collect) collectGarbage();
    const { heapUsed, rss } = process.memoryUsage();
    return {
      id: this.partitions.id,
      partitions: this.partitions.owned,
      microvms: this.histories.index.size,
      heapUsedBytes: heapUsed,
      residentBytes: rss,
    };
  }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
