import { hostname } from 'node:os';
import { z } from 'zod';
import { bootService, natsOptions, natsSettings, orExit, readConfig } from '#bus';
import { ANY } from '#protocol';
import { ControllerModule } from './controller.module';

const Config = z.object({
  ...natsSettings,
  /** Name of this controller among its replicas: no two may share it, and a restarted one keeps it. */
  controllerId: z
    .string()
    .regex(/^[a-zA-Z0-9_-]{1,63}$/, "must be 1..63 letters, digits, '-' or '_'")
    .default(
      `${hostname()
        .replace(/[^a-zA-Z0-9_-]/g, '-')
        .slice(0, 50)}-${process.pid}`,
    ),
  /** Histories of microVMs deleted longer ago than so many days are compacted to their end. Absent: everything is kept. */
  retentionDays: z.coerce.number().positive().optional(),
  logLevel: z.string().default('info'),
});
const { id, retentionDays, logLevel, nats } = orExit('controller', () => {
  const config = readConfig(Config);
  return {
    id: config.controllerId,
    retentionDays: config.retentionDays,
    logLevel: config.logLevel,
    nats: natsOptions(config, 'controller'),
  };
});

void bootService({
  name: 'controller',
  module: ControllerModule.of({ id, retentionDays }),
  nats,
  door: true,
  bus: { values: { hostId: ANY, controllerId: id } },
  logLevel,
});
