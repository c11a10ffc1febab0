import { Injectable } from '@nestjs/common';
import { randomInt } from 'node:crypto';
import { wallClockMs } from '#journal';
import { OperationError, requirePlacementLabels, SHARED, type dryRunPlacement, type Receipt } from '#protocol';
import { chooseHost, demandOf } from '#scheduling';
import type { z } from 'zod';
import { HostWatch } from '../hosts/host-watch';
import { receiptOf, VERDICTS_MOST } from '../receipts/receipt-of';

type Request = z.output<(typeof dryRunPlacement)['request']>;

/** Decides as for good, on a copy of the hosts. */
@Injectable()
export class DryRun {
  constructor(private readonly hosts: HostWatch) {}

  execute({ placements, excluded, hosts }: Request): Receipt[] {
    const table = this.hosts.book.table.copy();
    const receipts: Receipt[] = [];
    let verdicts = hosts === 'all' ? VERDICTS_MOST : 0;
    for (const { spec, count, coresidency = SHARED, template } of placements) {
      if (spec.template !== undefined && !template) {
        throw new OperationError(
          'unsupported',
          'a dry run of a clone needs to be told where its template is: over REST it is looked up',
        );
      }
      requirePlacementLabels(spec);
      const { image, placement: rules } = spec;
      const demand = demandOf(spec, coresidency, excluded, template);
      for (let n = 0; n < count; n++) {
        const at = Math.round(wallClockMs());
        const seed = randomInt(2 ** 32 - 1);
        const { hostId } = chooseHost({ table, demand, at }, seed);
        const asked = { image, ...(rules ? { rules } : {}), demand };
        const receipt = receiptOf('', { do: 'decide', microvmId: '', epoch: 1, at, seed, hostId, ...asked }, table, {
          hosts: verdicts,
        });
        if (hosts === 'all') verdicts -= receipt.hosts.length;
        receipts.push(receipt);
        if (hostId !== null) table.debit(hostId, demand);
      }
    }
    return receipts;
  }
}
