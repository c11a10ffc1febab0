import { z } from 'zod';
import { bootService, natsOptions, natsSettings, readConfig } from '#bus';
import { PlacementModule } from './placement.module';

const config = readConfig(z.object({ ...natsSettings, logLevel: z.string().default('info') }));

void bootService({
  name: 'placement',
  module: PlacementModule,
  nats: natsOptions(config),
  logLevel: config.logLevel,
});
