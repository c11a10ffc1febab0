import type { Logger } from 'pino';
import type { HostClassSettings, PolicyHeld, RatioInForce } from '#protocol';
import type { GuardKeeper } from '../guards/guard-keeper';
import type { RatioKeeper } from '../guards/ratio-keeper';
import type { Chronicle } from '../microvms/chronicle';

export interface HostPolicyParts {
  /** The class that this host's configuration names, and what it goes by where nobody has put that class on record. */
  own: { hostClass: string; settings: HostClassSettings };
  chronicle: Pick<Chronicle, 'record' | 'state'>;
  ratio: Pick<RatioKeeper, 'goBy' | 'inForce'>;
  guards: Pick<GuardKeeper, 'limitBy'>;
  log: Logger;
}

/** What this host goes by. It is in the journal, so that a new agent goes by it before it has reached anybody. */
export class HostPolicy {
  #held: PolicyHeld;

  constructor(private readonly parts: HostPolicyParts) {
    const { own, chronicle } = parts;
    this.#held = chronicle.state.policy ?? { hostClass: own.hostClass, revision: null, settings: null };
    this.#apply();
  }

  get held(): PolicyHeld {
    return this.#held;
  }

  get ratio(): RatioInForce {
    return this.parts.ratio.inForce;
  }

  /** Goes by another one from now on. What was admitted stays. False: it is the same. */
  take(wanted: PolicyHeld): boolean {
    const { hostClass, revision } = this.#held;
    if (wanted.hostClass === hostClass && wanted.revision === revision) return false;
    // First the journal: what is acknowledged must hold after a crash, too.
    if (!this.parts.chronicle.record({ policy: wanted })) return false;
    this.#held = wanted;
    this.parts.log.info({ hostClass: wanted.hostClass, revision: wanted.revision }, 'this host goes by another policy');
    this.#apply();
    return true;
  }

  #apply(): void {
    const { own, ratio, guards } = this.parts;
    const settings = this.#held.settings ?? own.settings;
    ratio.goBy(this.#held.hostClass, settings);
    guards.limitBy(settings.guards);
  }
}
