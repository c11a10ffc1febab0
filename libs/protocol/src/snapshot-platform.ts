import { z } from 'zod';

/** What a snapshot depends on: it is restored only where all of it is alike. */
export const SnapshotPlatform = z.strictObject({
  /** Version of the format in which snapshots are written and read; absent: the first. */
  format: z.int().positive().optional(),
  kvm: z.enum(['hardware', 'software']),
  /** The processor that guests are shown; absent where it is not known, and not compared then. */
  cpu: z
    .strictObject({
      vendor: z.string().max(32),
      family: z.int(),
      model: z.int(),
      stepping: z.int(),
      /** Checksum of all that CPUID tells guests. */
      features: z.string().max(64),
    })
    .optional(),
});
export type SnapshotPlatform = z.infer<typeof SnapshotPlatform>;

const FIRST_FORMAT = 1;

/**
 * Why a snapshot that was taken on one platform cannot be restored on another, as the two differ; undefined: it can. Guests of Volley's
 * own boot protocol are shown no processor: give no `cpu` of theirs.
 */
export function platformDifference(of: SnapshotPlatform, here: SnapshotPlatform | undefined): string | undefined {
  if (!here) return 'the host restores no snapshots';
  if (of.kvm !== here.kvm) return `the host has ${here.kvm} KVM, the template needs ${of.kvm} KVM`;
  const [needed, read] = [of.format ?? FIRST_FORMAT, here.format ?? FIRST_FORMAT];
  if (needed !== read) return `the host reads snapshots of format ${read}, the template has format ${needed}`;
  if (!of.cpu || !here.cpu) return undefined;
  if (of.cpu.vendor !== here.cpu.vendor) {
    return `the host has a processor of ${here.cpu.vendor}, the template needs one of ${of.cpu.vendor}`;
  }
  if (of.cpu.features !== here.cpu.features) {
    const name = ({ vendor, family, model }: NonNullable<SnapshotPlatform['cpu']>): string =>
      `${vendor} family ${family} model ${model}`;
    return (
      `the host's processor (${name(here.cpu)}) shows guests the features ${here.cpu.features}, ` +
      `the template needs ${of.cpu.features} (${name(of.cpu)})`
    );
  }
  return undefined;
}
