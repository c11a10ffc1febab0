import type { Receipt } from '#protocol';
import {
  chooseHost,
  reasonOf,
  SCHEDULER_VERSION,
  verdictOn,
  type Choice,
  type HostRow,
  type HostTable,
  type Occasion,
} from '#scheduling';
import { demandIn, type DecideStep } from './placement-steps';

/** Verdicts in one answer, at most: with all their filters they then stay below what a message may hold. */
export const VERDICTS_MOST = 900;

export interface Telling {
  /** Of how many hosts it is told, at most; of those that were compared always. */
  hosts: number;
  /** Version of the scheduler that decided. */
  scheduler?: number;
}

/** Explains one decision by the code that made it: the table is as it was right before. */
export function receiptOf(
  id: string,
  step: DecideStep,
  table: HostTable,
  { hosts, scheduler = SCHEDULER_VERSION }: Telling,
): Receipt {
  const { microvmId, epoch, at, seed, hostId, image, rules } = step;
  const demand = demandIn(step);
  const occasion: Occasion = { table, demand, at };
  // The record says what was decided; what follows from it by another version of the scheduler is said to.
  const choice: Choice = { ...chooseHost(occasion, seed), hostId };
  const reason = reasonOf(occasion, choice);
  const told = rowsToTell(table, choice, hosts);
  const { class: of, vcpus, memoryMiB, tenant, excluded } = demand;
  return {
    ...{ id, microvmId, epoch, at, hostId },
    demand: {
      image,
      class: of,
      vcpus,
      memoryMiB,
      tenant,
      excluded: [...excluded],
      ...(rules ? { placement: rules } : {}),
    },
    reason: scheduler === SCHEDULER_VERSION ? reason : `${reason} (decided by version ${scheduler} of the scheduler)`,
    hosts: told.map((row) => verdictOn(row, occasion, choice)),
    omitted: table.size - told.length,
  };
}

function rowsToTell({ rows }: HostTable, { compared }: Choice, most: number): readonly HostRow[] {
  if (rows.length <= most) return rows;
  const isCompared = ({ hostId }: HostRow): boolean => compared.some((one) => one.hostId === hostId);
  const others = rows.filter((row) => !isCompared(row)).slice(0, Math.max(0, most - compared.length));
  return [...rows.filter(isCompared), ...others];
}
