import { z } from 'zod';
import { bootService, natsOptions, natsSettings, readConfig } from '#bus';
import { ControllerModule } from './controller.module';

const config = readConfig(z.object({ ...natsSettings, logLevel: z.string().default('info') }));

void bootService({
  name: 'controller',
  module: ControllerModule,
  nats: natsOptions(config),
  logLevel: config.logLevel,
});
