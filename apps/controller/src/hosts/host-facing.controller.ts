import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { HOST_LIMITS, hostState } from '#lifecycle';
import { heartbeat, registerHost, reportFact } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { FactRecorder } from './fact-recorder';
import { HostLeases } from './host-leases';
import { HostRegistration } from './host-registration';

/** What hosts tell, as messages. */
@Controller()
export class HostFacingController {
  constructor(
    private readonly hosts: HostHistories,
    private readonly leases: HostLeases,
    private readonly registration: HostRegistration,
    private readonly facts: FactRecorder,
  ) {}

  @Handles(registerHost)
  register(request: z.output<(typeof registerHost)['request']>) {
    return this.registration.register(request);
  }

  @Handles(heartbeat)
  heartbeat({ hostId }: z.output<(typeof heartbeat)['request']>) {
    const life = this.hosts.get(hostId);
    const state = life && hostState(life);
    // Whoever is not counted on has to say anew what it is and holds.
    if (state !== 'ready' && state !== 'cordoned') return { unknown: true, leaseMs: HOST_LIMITS.lease };
    this.leases.renew(hostId);
    return { unknown: false, state, leaseMs: HOST_LIMITS.lease };
  }

  @Handles(reportFact)
  fact(request: z.output<(typeof reportFact)['request']>) {
    return this.facts.report(request);
  }
}
