import { z } from 'zod';
import { bootService, natsOptions, natsSettings, orExit, readConfig } from '#bus';
import { PlacementModule } from './placement.module';

const Config = z.object({ ...natsSettings, logLevel: z.string().default('info') });
const { logLevel, nats } = orExit('placement', () => {
  const config = readConfig(Config);
  return { logLevel: config.logLevel, nats: natsOptions(config, 'placement') };
});

void bootService({ name: 'placement', module: PlacementModule, nats, logLevel });
