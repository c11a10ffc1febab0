import { z } from 'zod';

/** What a snapshot depends on: it is restored only where all of it is alike. */
export const SnapshotPlatform = z.strictObject({
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

/** Why a snapshot that was taken on one platform cannot be restored on another; undefined: it can. */
export function platformDifference(of: SnapshotPlatform, here: SnapshotPlatform): string | undefined {
  if (of.kvm !== here.kvm) return `taken on ${of.kvm} KVM, not on ${here.kvm} KVM`;
  if (!of.cpu || !here.cpu) return undefined;
  if (of.cpu.vendor !== here.cpu.vendor) return `taken on a processor of ${of.cpu.vendor}, not of ${here.cpu.vendor}`;
  if (of.cpu.features !== here.cpu.features) {
    return `taken on a processor with other features (${of.cpu.features}, not ${here.cpu.features})`;
  }
  return undefined;
}
