import { Module, type DynamicModule } from '@nestjs/common';
import { ControllerLink } from './controller-link/controller-link.service';
import { DensityService } from './density/density.service';
import { HostAgent } from './host-agent';
import { HostController } from './host.controller';
import { HostClassLink } from './host-class/host-class-link';
import { ImageService } from './images/image-service';
import { SessionController } from './sessions/session.controller';
import { TemplateLink } from './templates/template-link';
import { WakeLink } from './wake/wake-link';

@Module({})
export class HostdModule {
  /** The agent has taken over its microVMs by now; this joins it to the bus. */
  static of(agent: HostAgent): DynamicModule {
    return {
      module: HostdModule,
      controllers: [HostController, SessionController, TemplateLink],
      providers: [
        { provide: HostAgent, useValue: agent },
        ...[ImageService, HostClassLink, ControllerLink, DensityService, WakeLink],
      ],
    };
  }
}
