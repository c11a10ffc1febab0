import { z } from 'zod';

/** What an operator asks for. Unknown fields are refused. */
export const MicrovmSpec = z.strictObject({
  /** For people; need not be unique. */
  name: z
    .string()
    .regex(
      /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/,
      "must be 1..63 letters, digits, '.', '_' or '-', starting with a letter or digit",
    )
    .optional(),
  image: z.string().min(1).max(255),
  vcpus: z.int().min(1).max(32).default(1),
  memoryMiB: z.int().min(2).max(1_048_576).default(128),
  /** Handed to the guest kernel as it is. */
  cmdline: z
    .string()
    .max(1900)
    .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
    .default(''),
  labels: z
    .record(
      z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,62}$/, 'must be 1..63 plain characters'),
      z.string().max(255),
    )
    .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels')
    .default({}),
  tenant: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1..63 lower-case letters, digits or '-'")
    .default('default'),
  /** `on-failure` starts it again after a panic, fault, kill or loss; `always` also after the guest powered itself off. */
  restartPolicy: z.enum(['never', 'on-failure', 'always']).default('never'),
  /** What becomes of it when its host vanishes: `keep` waits for the host, `reschedule` starts a new incarnation elsewhere after the lease. */
  onHostLoss: z.enum(['keep', 'reschedule']).default('keep'),
  /** The microVM is deleted this long after its creation. */
  ttlSeconds: z.int().min(1).max(31_536_000).optional(),
});
/** A spec as a client sends it: defaults may be missing. */
export type MicrovmSpecInput = z.input<typeof MicrovmSpec>;
export type MicrovmSpec = z.output<typeof MicrovmSpec>;
