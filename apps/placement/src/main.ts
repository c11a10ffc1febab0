import { bootService, natsOptions, orExit, readConfig } from '#bus';
import { PlacementConfig } from './placement.config';
import { PlacementModule } from './placement.module';

const { logLevel, usageIntervalMs, nats } = orExit('placement', () => {
  const config = readConfig(PlacementConfig);
  return {
    logLevel: config.logLevel,
    usageIntervalMs: config.usageIntervalSeconds * 1_000,
    nats: natsOptions(config, 'placement'),
  };
});

void bootService({ name: 'placement', module: PlacementModule.of({ usageIntervalMs }), nats, logLevel });
