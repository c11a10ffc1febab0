import { createHash, randomBytes } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { wallClockMs, type LiveBucket } from '#journal';
import { OperationError, sortableId, Token, TOKEN_BUCKET, type Role } from '#protocol';
import { openBucket, updateBucket } from './tenancy-bucket';

export interface TokenWish {
  name: string;
  role: Role;
  tenant: string | null;
  /** ms since 1970; null: never. */
  expiresAt: number | null;
}

/** Tokens of one tenant, or of the fleet, that are good at a time. */
export const MAX_LIVE_TOKENS = 200;
/** As many that are not are kept to be recognised, so that whoever still uses one is named in the audit. */
const MAX_DEAD_TOKENS = 200;

/** Why a token that is known is not good any more. */
export function refusalOf(token: Token, nowMs: number): 'revoked' | 'expired' | undefined {
  if (token.revokedAt !== null) return 'revoked';
  return token.expiresAt !== null && token.expiresAt <= nowMs ? 'expired' : undefined;
}

/** Every token by the SHA-256 of its secret, never the secret: a KV bucket, held in memory, so that a revocation acts at once everywhere. */
export class TokenDirectory {
  private constructor(private readonly tokens: LiveBucket<Token>) {}

  /** @throws OperationError `unavailable` */
  static async open(nc: NatsConnection, onUnreadable?: (key: string, error: unknown) => void): Promise<TokenDirectory> {
    return new TokenDirectory(
      await openBucket(nc, {
        name: TOKEN_BUCKET.name,
        decode: (json) => Token.parse(json),
        holds: (key) => /^[0-9a-f]{64}$/.test(key),
        onUnreadable,
      }),
    );
  }

  /** The token that has this secret, good or not. */
  find(secret: string): Token | undefined {
    return this.tokens.get(keyOf(secret));
  }

  /** By age. */
  list(): Token[] {
    return [...this.tokens.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  get(id: string): Token | undefined {
    for (const token of this.tokens.values()) if (token.id === id) return token;
    return undefined;
  }

  /**
   * Makes a token. Its secret is in this answer and nowhere else.
   *
   * @throws OperationError `refused` when its owner has as many as may be, `unavailable`.
   */
  async make(wish: TokenWish): Promise<{ token: Token; secret: string }> {
    const now = wallClockMs();
    const own = this.list().filter(({ tenant }) => tenant === wish.tenant);
    const dead = own.filter((token) => refusalOf(token, now) !== undefined);
    if (own.length - dead.length >= MAX_LIVE_TOKENS) {
      throw new OperationError('refused', `there are ${MAX_LIVE_TOKENS} tokens already; revoke some`);
    }
    const secret = `vly_${randomBytes(32).toString('base64url')}`;
    const token: Token = { id: sortableId(Math.floor(now), randomBytes(10)), ...wish, createdAt: now, revokedAt: null };
    await updateBucket(this.tokens, keyOf(secret), () => token);
    const forgotten = new Set(dead.slice(0, Math.max(0, dead.length - MAX_DEAD_TOKENS)).map(({ id }) => id));
    await Promise.all([...forgotten].map((id) => this.#change(id, () => undefined)));
    return { token, secret };
  }

  /** Ends a token; ended before, it stays as it is. Undefined: there is none. @throws OperationError `unavailable` */
  async revoke(id: string): Promise<Token | undefined> {
    return this.#change(id, (now) => ({ ...now, revokedAt: now.revokedAt ?? wallClockMs() }));
  }

  /**
   * Makes a token like this one; this one ends after `graceMs`, or at once.
   *
   * @throws OperationError `conflict` when it has ended already, `refused`, `unavailable`.
   */
  async rotate(id: string, graceMs: number): Promise<{ token: Token; secret: string } | undefined> {
    const old = this.get(id);
    if (!old) return undefined;
    const now = wallClockMs();
    const refusal = refusalOf(old, now);
    if (refusal !== undefined) throw new OperationError('conflict', `token ${id} is ${refusal}; make a new one`);
    const { name, role, tenant, expiresAt } = old;
    const made = await this.make({ name, role, tenant, expiresAt });
    if (graceMs === 0) await this.revoke(id);
    else {
      const endsAt = now + graceMs;
      await this.#change(id, (token) => ({ ...token, expiresAt: Math.min(token.expiresAt ?? Infinity, endsAt) }));
    }
    return made;
  }

  /** Calls back with every token that changes; undefined: one is gone altogether. Returns the way to stop. */
  onChange(listener: (token: Token | undefined) => void): () => void {
    return this.tokens.onChange((_key, token) => listener(token));
  }

  close(): void {
    this.tokens.close();
  }

  async #change(id: string, change: (now: Token) => Token | undefined): Promise<Token | undefined> {
    const key = this.tokens.keyWhere((token) => token.id === id);
    if (key === undefined) return undefined;
    let changed: Token | undefined;
    await updateBucket(this.tokens, key, (now) => (changed = now && change(now)));
    return changed;
  }
}

function keyOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
