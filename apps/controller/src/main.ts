import { z } from 'zod';
import { bootService, natsOptions, natsSettings, orExit, readConfig } from '#bus';
import { ANY } from '#protocol';
import { ControllerModule } from './controller.module';

const Config = z.object({ ...natsSettings, logLevel: z.string().default('info') });
const { logLevel, nats } = orExit('controller', () => {
  const config = readConfig(Config);
  return { logLevel: config.logLevel, nats: natsOptions(config) };
});

void bootService({ name: 'controller', module: ControllerModule, nats, bus: { values: { hostId: ANY } }, logLevel });
