import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { wallClockMs } from '#journal';
import { OperationError, type Token } from '#protocol';
import { may, RateLimits, refusalOf, TenantDirectory, TokenDirectory, type Audience, type Principal } from '#tenancy';
import { OperatorToken } from '../operator-token';

/** Whoever has the token of the token file: an operator whose token never ends, so that a fleet can always be reached. */
export const BOOTSTRAP: Principal = { tokenId: 'operator', name: 'operator', role: 'operator', tenant: null };

/** Who presented a secret, or why it is not good, with the token if there ever was one. */
export type Presented =
  { principal: Principal } | { refusal: 'unknown' | 'revoked' | 'expired'; token?: Token | undefined };

/** Longest time a timer can be set for, in ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const NEVER = new AbortController().signal;

/** Says who presents a token, what that lets them do, and when it has ended. All from memory. */
@Injectable()
export class Principals implements OnModuleDestroy {
  readonly #rates = new RateLimits();
  /** Tokens that something long goes on with. */
  readonly #ends = new Map<string, { end: AbortController; timer: NodeJS.Timeout | undefined }>();
  readonly #off: () => void;

  constructor(
    @Inject(OperatorToken) private readonly operator: OperatorToken,
    @Inject(TokenDirectory) private readonly tokens: TokenDirectory,
    @Inject(TenantDirectory) private readonly tenants: TenantDirectory,
  ) {
    this.#off = tokens.onChange(() => this.#review());
  }

  onModuleDestroy(): void {
    this.#off();
    for (const { timer } of this.#ends.values()) clearTimeout(timer);
  }

  present(secret: string): Presented {
    if (this.operator.matches(secret)) return { principal: BOOTSTRAP };
    const token = this.tokens.find(secret);
    if (!token) return { refusal: 'unknown' };
    const refusal = refusalOf(token, wallClockMs());
    if (refusal) return { refusal, token };
    const { id: tokenId, name, role, tenant } = token;
    return { principal: { tokenId, name, role, tenant } };
  }

  /**
   * Lets a principal use what is for this audience, as often as its tenant may.
   *
   * @throws OperationError `forbidden` when its role does not allow it, `overloaded` when its tenant asks too often.
   */
  admit(principal: Principal, audience: Audience | undefined): void {
    const { tenant, role } = principal;
    if (tenant !== null) {
      const rate = this.tenants.get(tenant)?.requestsPerSecond;
      const waitMs = this.#rates.take(tenant, rate, performance.now());
      if (waitMs > 0) {
        const told = `Tenant ${tenant} may send ${rate} requests per second; try again in ${waitMs} ms.`;
        throw new OperationError('overloaded', told, undefined, waitMs);
      }
    }
    if (audience === undefined || may(principal, audience)) return;
    const whose = tenant === null ? '' : ` of tenant ${tenant}`;
    throw new OperationError('forbidden', `A ${role} token${whose} may not do this.`);
  }

  /** Fires when the token is revoked or expires: what goes on with it has to end. */
  endOf({ tokenId }: Principal): AbortSignal {
    if (tokenId === BOOTSTRAP.tokenId) return NEVER;
    let held = this.#ends.get(tokenId);
    if (!held) {
      held = { end: new AbortController(), timer: undefined };
      this.#ends.set(tokenId, held);
      this.#look(tokenId);
    }
    return held.end.signal;
  }

  #review(): void {
    for (const tokenId of this.#ends.keys()) this.#look(tokenId);
  }

  #look(tokenId: string): void {
    const held = this.#ends.get(tokenId)!;
    clearTimeout(held.timer);
    const token = this.tokens.get(tokenId);
    const now = wallClockMs();
    if (!token || refusalOf(token, now)) {
      this.#ends.delete(tokenId);
      return held.end.abort();
    }
    if (token.expiresAt === null) return;
    const leftMs = Math.min(LONGEST_TIMER_MS, Math.ceil(token.expiresAt - now));
    held.timer = setTimeout(() => this.#look(tokenId), leftMs).unref();
  }
}
