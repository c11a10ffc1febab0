import { randomBytes } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { getMicrovm, OperationError, sortableId, type Microvm } from '#protocol';
import { AliasKey, sees, TokenDirectory, type Principal } from '#tenancy';
import type { MicrovmFilter } from '#fleet';
import { FLEET, type Fleet } from '../fleet/fleet';
import { TenantView } from './tenant-view';

/** How many owners of microVMs that are deleted for long are remembered. */
const MOST_OWNERS = 10_000;

/** The fleet through somebody's eyes: what belongs to another tenant is not there. */
@Injectable()
export class VisibleFleet {
  readonly #views = new Map<string, TenantView>();
  readonly #owners = new Map<string, string | null>();

  constructor(
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(AliasKey) private readonly aliases: AliasKey,
    @Inject(TokenDirectory) private readonly tokens: TokenDirectory,
  ) {}

  /** How this principal sees things; undefined: as they are. */
  viewOf({ tenant }: Pick<Principal, 'tenant'>): TenantView | undefined {
    if (tenant === null) return undefined;
    let view = this.#views.get(tenant);
    if (!view) {
      view = new TenantView(tenant, {
        isHost: (word) => this.fleet.host(word) !== undefined,
        aliasOf: (hostId) => this.aliases.aliasOf(tenant, hostId),
        isOwnName: (name) => this.tokens.list().some((token) => token.tenant === tenant && token.name === name),
      });
      this.#views.set(tenant, view);
    }
    return view;
  }

  /** A microVM as this principal sees it. */
  shown(who: Principal, microvm: Microvm): Microvm {
    return this.viewOf(who)?.microvm(microvm) ?? microvm;
  }

  /**
   * A microVM as it is, deleted ones included, if it exists for this principal.
   *
   * @throws OperationError `notFound` when it does not exist or belongs to another tenant; neither the answer nor the way to it tells
   * which. `unavailable`.
   */
  async find(who: Principal, id: string): Promise<Microvm> {
    const known = this.fleet.microvm(id);
    if (known && sees(who, known.tenant)) return known;
    // What is another's takes the way of what is not there: the controller is asked for an id that nobody has.
    const found = await this.#ask(known ? unusedId() : id);
    if (found && sees(who, found.tenant)) return found;
    throw new OperationError('notFound', `there is no microVM ${id}`);
  }

  /** @throws OperationError as {@link find}; costs nothing for those who see everything, whom the controller answers. */
  async check(who: Principal, id: string): Promise<void> {
    if (who.tenant !== null) await this.find(who, id);
  }

  /** @throws OperationError `forbidden` when the filter names another tenant, whether or not there is one. */
  list(who: Principal, filter: MicrovmFilter): { items: Microvm[]; nextCursor: string | null } {
    const view = this.viewOf(who);
    if (!view) return this.fleet.list(filter);
    const { tenant } = view;
    requireOwn(who, filter.tenant);
    const hostId = filter.hostId === undefined ? undefined : this.#hostCalled(filter.hostId, tenant);
    if (hostId === null) return { items: [], nextCursor: null };
    const { items, nextCursor } = this.fleet.list({ ...filter, tenant, hostId });
    return { items: items.map((microvm) => view.microvm(microvm)), nextCursor };
  }

  /** Whose a microVM is, or was; null when nobody knows it. @throws OperationError `unavailable` */
  async ownerOf(id: string): Promise<string | null> {
    const known = this.fleet.microvm(id)?.tenant ?? this.#owners.get(id);
    if (known !== undefined) return known;
    const owner = (await this.#ask(id))?.tenant ?? null;
    this.#owners.set(id, owner);
    if (this.#owners.size > MOST_OWNERS) this.#owners.delete(this.#owners.keys().next().value!);
    return owner;
  }

  /** Null: this tenant knows no host by this name. */
  #hostCalled(alias: string, tenant: string): string | null {
    const host = this.fleet.hosts().find(({ id }) => this.aliases.aliasOf(tenant, id) === alias);
    return host?.id ?? null;
  }

  async #ask(id: string): Promise<Microvm | undefined> {
    try {
      return (await this.bus.call(getMicrovm, { id })).microvm;
    } catch (error) {
      if (error instanceof OperationError && error.code === 'notFound') return undefined;
      throw error;
    }
  }
}

/** @throws OperationError `forbidden` when a tenant's token names another tenant, whether or not there is one. */
export function requireOwn({ tenant: own }: Principal, named: string | undefined): void {
  if (own === null || named === undefined || named === own) return;
  throw new OperationError('forbidden', `This token is of tenant ${own}; it sees and touches nothing of others.`);
}

function unusedId(): string {
  return sortableId(Date.now(), randomBytes(10));
}
