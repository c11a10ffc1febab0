import { Controller, Inject } from '@nestjs/common';
import { ProblemError } from '../http/problem';
import { Input, Serves } from '../http/route';
import { healthRoute, readyRoute } from './health.routes';
import { Readiness } from './readiness';

@Controller()
export class HealthController {
  constructor(@Inject(Readiness) private readonly readiness: Readiness) {}

  @Serves(healthRoute)
  health(@Input(healthRoute) _input: unknown) {
    return { status: 'alive' };
  }

  @Serves(readyRoute)
  async ready(@Input(readyRoute) _input: unknown) {
    const { ready, checks } = await this.readiness.check();
    if (ready) return { status: 'ready', checks };
    const wrong = Object.entries(checks).filter(([, check]) => check !== 'ok');
    const detail = wrong.map(([name, check]) => `${name}: ${check}`).join('; ');
    throw new ProblemError(503, 'unavailable', detail, { members: { checks }, headers: { 'retry-after': '1' } });
  }
}
