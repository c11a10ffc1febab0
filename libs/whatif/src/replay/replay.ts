import { MICROVM_LIMITS, placementBackoff } from '#lifecycle';
import {
  chooseHost,
  explainNone,
  FairQueue,
  HostTable,
  offerHost,
  offerTurn,
  seededNumbers,
  type Capacity,
  type Commitment,
  type Demand,
  type Occasion,
  type Ratios,
} from '#scheduling';
import type { HostDescription } from '#protocol';
import type { Claim } from '../load/claim';
import type { Endings } from '../load/endings';
import type { Load } from '../load/load';
import { EventHeap } from './event-heap';
import { ReplayedHost } from './replayed-host';
import { Tally } from './tally';

export interface ReplayOptions {
  /** All the chance there is: the draws of the scheduler, of endings that are not known, and when in its interval a host reports. */
  seed: number;
  /** How often hosts report, ms: the placement service learns of what became free no sooner. */
  reportIntervalMs: number;
  /** What a host of this description may promise. */
  capacityOf: (description: HostDescription) => Capacity;
  endings: Endings;
  /** With one refusal more it ends where it is: whoever asks only whether so many suffice need not see the rest. */
  mostRefused?: number | undefined;
  /** Derives limits of hosts as time goes by, in place of those of `capacityOf`. */
  limits?: Limits | undefined;
  /** Decides who may join a host in place of commitments and limits. */
  oracle?: Oracle | undefined;
  /** Told of every stay on a host, when it has ended or the record has. `to`: ms since 1970. */
  onStay?: (stay: ReplayedStay) => void;
}

/** A policy by which hosts are promised. */
export interface Limits {
  /** How often limits are derived anew, ms. */
  readonly windowMs: number;
  /** From the end of the window `at` (ms since 1970) on. */
  ratios(
    hostId: string,
    capacity: Capacity,
    committed: Commitment,
    held: readonly { claim: Claim; from: number }[],
    at: number,
  ): Ratios;
}

/** Knows the future. */
export interface Oracle {
  /** Whether a claim fits on a host from `at` until `until`, ms since 1970, whatever comes. */
  mayTake(hostId: string, claim: Claim, at: number, until: number): boolean;
  take(hostId: string, claim: Claim, at: number, until: number): void;
}

export interface ReplayedStay {
  claim: Claim;
  hostId: string;
  from: number;
  to: number;
}

/** A claim on its way. */
class Pending {
  /** Placements tried, and hosts that refused it since the last pause. */
  attempts = 1;
  excluded: string[] = [];
  over = false;

  /** `barred`: hosts that an oracle keeps it from, as of now. */
  constructor(
    readonly claim: Claim,
    private readonly barred: (() => string[]) | undefined,
  ) {}

  get demand(): Demand {
    const excluded = this.barred ? [...this.excluded, ...this.barred()] : this.excluded;
    return excluded.length === 0 ? this.claim.demand : { ...this.claim.demand, excluded };
  }
}

interface Held {
  claim: Claim;
  host: ReplayedHost;
  from: number;
}

type Happening =
  | { do: 'ask'; claim: Claim }
  | { do: 'retry'; pending: Pending }
  | { do: 'giveUp'; pending: Pending }
  | { do: 'withdraw'; pending: Pending }
  | { do: 'release'; key: string }
  | { do: 'report'; host: ReplayedHost }
  | { do: 'window' }
  | { do: 'phase'; hostId: string; state: string | null; description: HostDescription };

/**
 * A load once more, in virtual time, through the code that decides in a fleet: the scheduler's choice, the waiting line with its
 * turns and deadlines, what placement knows of a host between two reports, and the books by which a host admits. What it leaves out is
 * how long a message and a start take: a decision and the start that follows are one instant.
 */
export class Replay {
  readonly tally: Tally;
  readonly #table = new HostTable();
  readonly #hosts = new Map<string, ReplayedHost>();
  readonly #phaseOf = new Map<string, number>();
  readonly #reporting = new Set<ReplayedHost>();
  readonly #lines = new FairQueue<Pending>();
  readonly #held = new Map<string, Held>();
  /** microVMs whose last claim was refused. */
  readonly #refused = new Set<string>();
  /** microVMs that go on after they were suspended, and the host that has their memory. */
  readonly #memories = new Map<string, string>();
  readonly #happenings = new EventHeap<Happening>();
  readonly #random: () => number;
  #now: number;
  #committed = { microvms: 0, vcpus: 0, memoryMiB: 0 };
  #events = 0;

  constructor(
    private readonly load: Load,
    private readonly options: ReplayOptions,
  ) {
    this.tally = new Tally(load.from);
    this.#now = load.from;
    this.#random = seededNumbers(options.seed);
  }

  /** How many things happened. */
  get events(): number {
    return this.#events;
  }

  run(): Tally {
    this.#begin();
    const { to } = this.load;
    const { mostRefused = Infinity } = this.options;
    for (let next = this.#happenings.pop(); next && next.at < to; next = this.#happenings.pop()) {
      this.#now = next.at;
      this.#events++;
      this.#happen(next.item);
      if (this.tally.all.refused > mostRefused) return this.tally;
    }
    this.#now = to;
    for (const key of [...this.#held.keys()]) this.#leave(key, to);
    this.#lines.serve((pending) => {
      this.#withdraw(pending);
      return true;
    });
    return this.tally;
  }

  #begin(): void {
    for (const { hostId, phases } of this.load.hosts) {
      this.#phaseOf.set(hostId, this.#random() * this.options.reportIntervalMs);
      for (const { at, state, description } of phases) {
        if (at <= this.load.from) this.#become(hostId, state, description);
        else this.#happenings.push(at, { do: 'phase', hostId, state, description });
      }
    }
    for (const { resumes, microvmId, was } of this.load.claims) {
      // Where it was in the record, until it has been somewhere in this replay.
      if (resumes) this.#memories.set(microvmId, was.kind === 'placed' ? was.hostId : '');
    }
    if (this.options.limits) this.#happenings.push(this.load.from + this.options.limits.windowMs, { do: 'window' });
    const homeless: Claim[] = [];
    for (const claim of this.load.claims) {
      if (claim.askedAt >= this.load.from) this.#happenings.push(claim.askedAt, { do: 'ask', claim });
      else if (claim.was.kind === 'placed' && claim.was.at < this.load.from && this.#hosts.has(claim.was.hostId)) {
        this.#settle(claim, this.#hosts.get(claim.was.hostId)!, claim.was.at, true);
      } else homeless.push(claim);
    }
    for (const host of this.#hosts.values()) this.#table.set(host.report());
    // They waited then, or their host is not part of this fleet.
    for (const claim of homeless) this.#ask(claim);
  }

  #happen(happening: Happening): void {
    switch (happening.do) {
      case 'ask':
        return this.#ask(happening.claim);
      case 'retry':
        return this.#place(happening.pending);
      case 'giveUp':
        return this.#giveUp(happening.pending);
      case 'withdraw':
        return this.#withdraw(happening.pending);
      case 'release':
        return this.#leave(happening.key, this.#now);
      case 'window':
        return this.#deriveLimits();
      case 'report':
        return this.#report(happening.host);
      case 'phase':
        return this.#become(happening.hostId, happening.state, happening.description);
    }
  }

  #ask(claim: Claim): void {
    const { microvmId, follows } = claim;
    if (follows && this.#refused.has(microvmId)) return this.tally.count(claim, 'neverCame');
    this.#refused.delete(microvmId);
    this.tally.count(claim, 'asked');
    if (claim.resumes) return this.#resume(claim);
    this.#place(new Pending(claim, this.options.oracle && (() => this.#barred(claim))));
  }

  /** Nobody chooses: it goes on where its memory is. */
  #resume(claim: Claim): void {
    const host = this.#hosts.get(this.#memories.get(claim.microvmId) ?? '');
    const admitted = host?.state !== null && host?.admit(keyOf(claim), claim.demand, false).admitted;
    // Refused, it stays suspended and may be asked again.
    if (!host || !admitted) return this.tally.refused(claim, 'host');
    this.#willReport(host);
    this.tally.placed(claim, this.#now);
    this.#settle(claim, host, this.#now, false);
  }

  /** One attempt. */
  #place(pending: Pending): void {
    if (pending.over) return;
    const { claim } = pending;
    const mayWait = claim.waitUntil > this.#now && pending.excluded.length === 0;
    if (mayWait && !this.#lines.isEmptyFor(claim.demand.tenant)) return this.#wait(pending);
    const occasion = this.#occasionOf(pending.demand);
    const hostId = this.#choose(occasion);
    if (hostId !== null) return this.#start(pending, this.#hosts.get(hostId)!);
    const { filter, hopeless } = explainNone(occasion);
    if (mayWait && !hopeless) return this.#wait(pending);
    // A host that refused it may have room by the next try, as long as there is time for one.
    if (pending.excluded.length > 0 && claim.waitUntil > this.#now && this.#attemptsLeft(pending)) {
      pending.excluded = [];
      return this.#happenings.push(this.#now + placementBackoff(pending.attempts++), { do: 'retry', pending });
    }
    this.#refuse(pending, pending.excluded.length > 0 ? 'host' : filter);
  }

  #start(pending: Pending, host: ReplayedHost): void {
    const { claim } = pending;
    const { demand } = claim;
    const key = keyOf(claim);
    this.#table.debit(host.hostId, demand);
    const { admitted } = host.admit(key, demand, true);
    this.#willReport(host);
    if (admitted) {
      pending.over = true;
      this.tally.placed(claim, this.#now);
      return this.#settle(claim, host, this.#now, false);
    }
    this.tally.hostRefusals++;
    if (!this.#attemptsLeft(pending)) return this.#refuse(pending, 'host');
    pending.attempts++;
    pending.excluded.push(host.hostId);
    this.#place(pending);
  }

  #attemptsLeft({ attempts }: Pending): boolean {
    return attempts < MICROVM_LIMITS.placementAttempts;
  }

  #wait(pending: Pending): void {
    const { claim } = pending;
    this.#lines.add(claim.demand.tenant, keyOf(claim), pending);
    const withdrawnAt = Math.min(claim.was.kind === 'withdrawn' ? claim.was.at : Infinity, claim.expiresAt ?? Infinity);
    // At one instant the end of its life comes first: it needs no answer of placement to be known.
    if (withdrawnAt <= claim.waitUntil) this.#happenings.push(withdrawnAt, { do: 'withdraw', pending });
    else this.#happenings.push(claim.waitUntil, { do: 'giveUp', pending });
  }

  /** Nobody wants it any more, of which placement is told. */
  #withdraw(pending: Pending): void {
    if (pending.over) return;
    pending.over = true;
    this.tally.count(pending.claim, 'unanswered');
    if (this.#lines.remove(keyOf(pending.claim))) this.#offerTurn(pending.claim.demand.tenant);
  }

  /** Its time in the line is over. */
  #giveUp(pending: Pending): void {
    const { claim } = pending;
    if (this.#lines.get(keyOf(claim)) !== pending) return;
    this.#lines.remove(keyOf(claim));
    // Its last decision: that there is no host even now, or one that only just became free.
    if (!this.#take(pending)) this.#refuse(pending, explainNone(this.#occasionOf(pending.demand)).filter);
    this.#offerTurn(claim.demand.tenant);
  }

  #offerTurn(tenant: string): void {
    offerTurn(
      this.#lines,
      tenant,
      (demand) => this.#occasionOf(demand),
      (pending) => void this.#take(pending),
    );
  }

  /** Gives what waited a host, if there is one. */
  #take(pending: Pending): boolean {
    const hostId = this.#choose(this.#occasionOf(pending.demand));
    if (hostId === null) return false;
    this.#start(pending, this.#hosts.get(hostId)!);
    return true;
  }

  #refuse(pending: Pending, reason: string): void {
    if (pending.over) return;
    pending.over = true;
    this.#refused.add(pending.claim.microvmId);
    // An oracle leaves hosts out; what they would be short of is in the future.
    this.tally.refused(pending.claim, this.options.oracle && reason === 'notExcluded' ? 'future' : reason);
  }

  /** It has its place, and how long is known now at the latest. */
  #settle(claim: Claim, host: ReplayedHost, at: number, restored: boolean): void {
    const key = keyOf(claim);
    if (this.#memories.has(claim.microvmId)) this.#memories.set(claim.microvmId, host.hostId);
    if (restored) host.restore(key, claim.demand);
    const until = this.#endOf(claim, at);
    this.options.oracle?.take(host.hostId, claim, at, until);
    this.#held.set(key, { claim, host, from: at });
    this.#commit(claim.demand, 1);
    if (until < this.load.to) this.#happenings.push(Math.max(until, this.#now), { do: 'release', key });
  }

  #endOf(claim: Claim, at: number): number {
    return this.options.endings.endOf(claim, at, () => numbersOf(claim, this.options.seed)());
  }

  #barred(claim: Claim): string[] {
    const until = this.#endOf(claim, this.#now);
    const mayNot = (hostId: string): boolean => !this.options.oracle!.mayTake(hostId, claim, this.#now, until);
    return [...this.#hosts.keys()].filter(mayNot);
  }

  #leave(key: string, at: number): void {
    const held = this.#held.get(key);
    if (!held) return;
    this.#held.delete(key);
    held.host.release(key);
    this.#commit(held.claim.demand, -1);
    this.#willReport(held.host);
    this.options.onStay?.({ claim: held.claim, hostId: held.host.hostId, from: held.from, to: at });
  }

  #commit({ vcpus, memoryMiB }: Demand, sign: 1 | -1): void {
    const committed = this.#committed;
    const { peak } = this.tally;
    committed.microvms += sign;
    committed.vcpus += sign * vcpus;
    committed.memoryMiB += sign * memoryMiB;
    if (sign < 0) return;
    peak.microvms = Math.max(peak.microvms, committed.microvms);
    peak.vcpus = Math.max(peak.vcpus, committed.vcpus);
    peak.memoryMiB = Math.max(peak.memoryMiB, committed.memoryMiB);
  }

  /** At the end of the report interval in which something has changed there. */
  #willReport(host: ReplayedHost): void {
    if (this.#reporting.has(host)) return;
    this.#reporting.add(host);
    this.#happenings.push(this.#nextReport(host, this.#now), { do: 'report', host });
  }

  /** The first one after an instant. */
  #nextReport({ hostId }: ReplayedHost, after: number): number {
    const { reportIntervalMs } = this.options;
    const phase = this.load.from + this.#phaseOf.get(hostId)!;
    return phase + (Math.floor((after - phase) / reportIntervalMs) + 1) * reportIntervalMs;
  }

  #report(host: ReplayedHost): void {
    this.#reporting.delete(host);
    if (host.state === null) return;
    this.#renew(host);
  }

  #renew(host: ReplayedHost): void {
    this.#table.set(host.report());
    offerHost(
      this.#lines,
      host.hostId,
      (demand) => this.#occasionOf(demand),
      (pending) => void this.#take(pending),
    );
  }

  #become(hostId: string, state: string | null, description: HostDescription): void {
    const capacity = this.options.capacityOf(description);
    const host = this.#hosts.get(hostId);
    if (!host) this.#hosts.set(hostId, new ReplayedHost(hostId, description, state, capacity));
    else host.become(state, description, capacity);
    if (state === null) return this.#table.remove(hostId);
    if (this.#now > this.load.from) this.#renew(this.#hosts.get(hostId)!);
  }

  #deriveLimits(): void {
    const limits = this.options.limits!;
    const here = new Map<ReplayedHost, Held[]>();
    for (const held of this.#held.values()) {
      const together = here.get(held.host);
      if (together) together.push(held);
      else here.set(held.host, [held]);
    }
    for (const host of this.#hosts.values()) {
      if (host.state === null) continue;
      const { cpu, memory } = limits.ratios(host.hostId, host.limits, host.commitment, here.get(host) ?? [], this.#now);
      host.limit({ ...host.limits, overcommit: { ...host.limits.overcommit, cpu, memory } });
      this.#willReport(host);
    }
    this.#happenings.push(this.#now + limits.windowMs, { do: 'window' });
  }

  #occasionOf(demand: Demand): Occasion {
    return { table: this.#table, demand, at: this.#now };
  }

  #choose(occasion: Occasion): string | null {
    return chooseHost(occasion, Math.floor(this.#random() * 2 ** 32)).hostId;
  }
}

const keyOf = ({ microvmId, round }: Claim): string => `${microvmId}.${round}`;

/** Chance that belongs to one claim: it ends the same and uses the same in all scenarios of a run. */
export function numbersOf(claim: Claim, seed: number): () => number {
  const key = keyOf(claim);
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return seededNumbers(hash >>> 0);
}
