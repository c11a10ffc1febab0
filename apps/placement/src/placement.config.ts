import { z } from 'zod';
import { natsSettings } from '#bus';

/** Settings of the placement service. */
export const PlacementConfig = z.object({
  ...natsSettings,
  /** Length of the intervals of which what microVMs use is recorded, for what-ifs. */
  usageIntervalSeconds: z.coerce.number().int().min(1).max(3_600).default(30),
  logLevel: z.string().default('info'),
});
