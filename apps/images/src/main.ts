import { bootService, natsOptions, orExit, readConfig } from '#bus';
import { ANY } from '#protocol';
import { ImagesConfig } from './images.config';
import { ImagesModule } from './images.module';

const { config, nats } = orExit('images', () => {
  const config = readConfig(ImagesConfig);
  return { config, nats: natsOptions(config, 'images') };
});

void bootService({
  name: 'images',
  module: (context) => ImagesModule.open(context, config),
  nats,
  bus: { values: { hostId: ANY } },
  logLevel: config.logLevel,
});
