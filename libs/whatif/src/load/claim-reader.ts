import { MICROVM_LIMITS } from '#lifecycle';
import type { Coresidency, MicrovmRecord, MicrovmSpec } from '#protocol';
import { demandOf, type Demand } from '#scheduling';
import type { Claim, Ending, Outcome } from './claim';

/** What {@link ClaimReader} reads of a record of a microVM's history. */
export type ClaimRecord = Pick<MicrovmRecord, 'microvmId' | 'at' | 'from' | 'to' | 'cause' | 'events'>;

type Draft = { -readonly [K in keyof Claim]: Claim[K] };

interface Life {
  spec: MicrovmSpec;
  demand: Demand;
  /** Kept when the time to live is over. */
  protected: boolean;
  expiresAt: number | null;
  rounds: number;
  /** The claim that has or waits for a place. */
  open: Draft | undefined;
  /** What is ending it comes at a time of its own. */
  endsByPlan: boolean;
}

/** States in which there is no incarnation, and none is wanted. */
const AT_REST: readonly string[] = ['stopped', 'failed', 'suspended', 'deleted'];

/** Reads the claims in the histories of microVMs, record by record in the order of the stream. */
export class ClaimReader {
  readonly #lives = new Map<string, Life>();
  readonly #claims: Draft[] = [];
  #fragments = 0;

  /** `rulesOf`: with whom a tenant shares hosts. */
  constructor(private readonly rulesOf: (tenant: string) => Coresidency) {}

  /** Histories of which retention has left only the end: what they claimed is not known. */
  get fragments(): number {
    return this.#fragments;
  }

  get claims(): readonly Claim[] {
    return this.#claims;
  }

  take(record: ClaimRecord): void {
    const life = this.#lives.get(record.microvmId) ?? this.#born(record);
    if (!life) return;
    for (const event of record.events) {
      switch (event.type) {
        case 'protectionSet':
          life.protected = event.enabled;
          break;
        case 'placed':
          if (life.open) life.open.was = { kind: 'placed', hostId: event.hostId, epoch: event.epoch, at: record.at };
          break;
        case 'restoreRequested':
          this.#ask(life, record, { resumes: true });
          life.open!.was = { kind: 'placed', hostId: event.hostId, epoch: event.epoch, at: record.at };
          break;
        case 'refused':
          if (life.open) life.open.was = { kind: 'waiting' };
          break;
        case 'exited':
          this.#ended(life, withinRecord(event.exit.at, life, record), event.exit.reason === 'expired');
          break;
        case 'suspended':
        case 'absent':
        case 'erased':
        case 'hostGone':
          this.#ended(life, record.at, false);
          break;
        default:
      }
    }
    this.#follow(life, record);
    if (record.to === 'deleted') this.#lives.delete(record.microvmId);
  }

  #born({ microvmId, at, events, to }: ClaimRecord): Life | undefined {
    const [birth] = events;
    if (birth?.type !== 'requested') {
      if (to === 'deleted') this.#fragments++;
      return undefined;
    }
    const { spec } = birth;
    const life: Life = {
      spec,
      demand: demandOf(spec, this.rulesOf(spec.tenant), []),
      protected: spec.deleteProtection ?? false,
      expiresAt: spec.ttlSeconds === undefined ? null : at + spec.ttlSeconds * 1_000,
      rounds: 0,
      open: undefined,
      endsByPlan: false,
    };
    this.#lives.set(microvmId, life);
    return life;
  }

  /** What the change of state means for its claim. */
  #follow(life: Life, record: ClaimRecord): void {
    const { from, to, at, cause } = record;
    if (to === 'placing' && from !== 'placing') {
      // A host that refused it, or a wait for the next attempt, does not end the claim.
      if (life.open?.was.kind === 'placed') this.#ended(life, at, false);
      if (!life.open) this.#ask(life, record, { follows: from !== null && !AT_REST.includes(from) });
      life.endsByPlan = false;
    }
    if ((to === 'stopping' || to === 'deleting') && from !== to) life.endsByPlan = cause.kind === 'timer';
    if (AT_REST.includes(to)) this.#rest(life, record);
  }

  #ask(life: Life, { microvmId, at }: ClaimRecord, { follows = false, resumes = false }): void {
    const { waitSeconds } = life.spec;
    const waitMs = resumes ? 0 : waitSeconds === undefined ? MICROVM_LIMITS.capacityWait : waitSeconds * 1_000;
    const open: Draft = {
      microvmId,
      round: ++life.rounds,
      demand: life.demand,
      askedAt: at,
      waitUntil: at + waitMs,
      follows,
      resumes,
      expiresAt: life.protected ? null : life.expiresAt,
      ending: { kind: 'open' },
      was: { kind: 'waiting' },
    };
    life.open = open;
    this.#claims.push(open);
  }

  /** Its incarnation has ended. */
  #ended(life: Life, at: number, expired: boolean): void {
    const { open } = life;
    if (open?.was.kind !== 'placed') return;
    open.ending = endingOf(open.was.at, at, expired || life.endsByPlan);
    life.open = undefined;
  }

  #rest(life: Life, { at, to, events }: ClaimRecord): void {
    this.#ended(life, at, false);
    if (!life.open) return;
    const reason = events.reduce((last, event) => ('reason' in event && event.reason ? event.reason : last), '');
    const isRefused = to === 'failed' || to === 'suspended';
    const was: Outcome = isRefused ? { kind: 'refused', reason, at } : { kind: 'withdrawn', at };
    life.open.was = was;
    life.open.ending = { kind: 'unknown' };
    life.open = undefined;
  }
}

function endingOf(from: number, to: number, byPlan: boolean): Ending {
  return byPlan ? { kind: 'at', at: to } : { kind: 'after', ms: Math.max(0, to - from) };
}

/** By the host's clock, as long as that agrees with what the controllers saw. */
function withinRecord(exitAt: number, { open }: Life, { at }: ClaimRecord): number {
  const placedAt = open?.was.kind === 'placed' ? open.was.at : at;
  return exitAt >= placedAt && exitAt <= at ? exitAt : at;
}
