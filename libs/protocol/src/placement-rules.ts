import { z } from 'zod';
import { OperationError } from './errors';

const LabelKey = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,62}$/, 'must be 1..63 plain characters');
const LabelKeys = z.array(LabelKey).min(1).max(8);

/**
 * Where a microVM may be placed, beside what its size and image ask for. `affinity`, `antiAffinity` and `spread` name labels
 * of the microVM itself. Two microVMs of one tenant belong to one group of a label when they have the same value of it and
 * both name it in one of the three.
 */
export const PlacementRules = z.strictObject({
  /** Labels the host must have, with these values. */
  hostLabels: z
    .record(LabelKey, z.string().max(255))
    .refine((labels) => Object.keys(labels).length <= 16, 'at most 16 labels')
    .optional(),
  /** Only where one of its group is; the first of a group goes anywhere. */
  affinity: LabelKeys.optional(),
  /** Not where one of its group is. */
  antiAffinity: LabelKeys.optional(),
  /** Rather where fewer of its group are. */
  spread: LabelKeys.optional(),
});
export type PlacementRules = z.infer<typeof PlacementRules>;

interface Labelled {
  tenant: string;
  labels: Readonly<Record<string, string>>;
  placement?: PlacementRules | undefined;
}

/** @throws OperationError `invalid` when the rules name labels that the microVM does not have. */
export function requirePlacementLabels({ labels, placement }: Omit<Labelled, 'tenant'>): void {
  const missing = namedLabels(placement).filter((key) => !Object.hasOwn(labels, key));
  if (missing.length === 0) return;
  const names = missing.join(', ');
  throw new OperationError('invalid', `placement names labels that the microVM does not have: ${names}`, [
    { path: 'spec.labels', message: `must have ${names}, which placement names` },
  ]);
}

/** The group of one label: its name is the same for all who belong to it, and no other tenant's. */
export function groupOf({ tenant, labels }: Labelled, label: string): string {
  return `${tenant} ${label}=${labels[label] ?? ''}`;
}

/** Every group a microVM belongs to. */
export function groupsOf(microvm: Labelled): string[] {
  return microvm.placement ? namedLabels(microvm.placement).map((label) => groupOf(microvm, label)) : [];
}

function namedLabels(rules: PlacementRules | undefined): string[] {
  return [...new Set([...(rules?.affinity ?? []), ...(rules?.antiAffinity ?? []), ...(rules?.spread ?? [])])];
}
