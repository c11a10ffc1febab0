import fc from 'fast-check';
import type { Cause, GroupEvent, GroupRecord } from '#protocol';
import { spec as microvmSpec } from '../microvm/microvm.fixtures';
import { decideGroupEvents } from './group.decider';
import { foldGroupRecord, summariseGroup, viewGroup, type GroupLife } from './group.life';
import { GROUP_LIMITS } from './group.limits';
import { planGroup, type Sighting } from './group.plan';

const T0 = 1_700_000_000_000;
const ID = 'default_web';
const CAUSE: Cause = { kind: 'controller', by: 'test' };
const version = (name: string, maxSurge = 1, maxUnavailable = 0) => ({
  spec: microvmSpec({ image: name }),
  specHash: name,
  maxSurge,
  maxUnavailable,
});

/** A group, its microVMs and a clock: plans are put on record and done at once, as the controller does them. */
class World {
  life: GroupLife | null = null;
  readonly records: GroupRecord[] = [];
  readonly microvms = new Map<string, Sighting>();
  now = T0;
  #ids = 0;
  #commands = 0;

  record(...events: GroupEvent[]): void {
    const occasion = { groupId: ID, commandId: `c${++this.#commands}`, cause: CAUSE, at: this.now };
    const decision = decideGroupEvents(this.life, events, occasion);
    if (decision.kind !== 'record') throw new Error(`${decision.kind}: ${JSON.stringify(events)}`);
    this.records.push(decision.record);
    this.life = { ...decision.advance.life, revision: this.records.length };
  }

  create(replicas: number, name = 'a', maxSurge = 1, maxUnavailable = 0): void {
    this.record({
      type: 'created',
      tenant: 'default',
      name: 'web',
      replicas,
      ...version(name, maxSurge, maxUnavailable),
    });
    this.settle();
  }

  /** Plans and does until nothing is left to decide. Returns when it wants to be asked again. */
  settle(): number | undefined {
    for (let round = 0; round < 1_000; round++) {
      const plan = planGroup(this.life!, {
        look: (id) => this.look(id),
        newId: () => `m${String(++this.#ids).padStart(4, '0')}`,
        now: this.now,
      });
      if (plan.events.length > 0) this.record(...plan.events);
      for (const { microvmId, phase } of this.life!.members.values()) {
        const { state } = this.look(microvmId);
        if (state === 'unborn' && phase !== 'leaving') this.set(microvmId, 'placing');
        else if (phase === 'leaving' && state !== 'deleting') this.set(microvmId, 'deleted');
      }
      if (plan.events.length === 0) return plan.wakeAt;
    }
    throw new Error('never settles');
  }

  look(id: string): Sighting {
    return this.microvms.get(id) ?? { state: 'unborn', reason: null, isProtected: false, ranMs: null };
  }

  set(id: string, state: Sighting['state'], more: Partial<Sighting> = {}): void {
    this.microvms.set(id, { ...this.look(id), state, ...more });
  }

  /** All that are coming run now, or fail. */
  boot(state: 'running' | 'failed' = 'running', which: (image: string) => boolean = () => true): void {
    for (const { microvmId, phase, specHash } of this.life!.members.values()) {
      if (phase === 'coming' && this.look(microvmId).state !== 'unborn' && which(specHash)) {
        this.set(microvmId, state, { reason: 'boom' });
      }
    }
    this.settle();
  }

  ids(hash?: string): string[] {
    return [...this.life!.members.values()]
      .filter(({ phase, specHash }) => phase !== 'leaving' && (hash === undefined || specHash === hash))
      .map(({ microvmId }) => microvmId);
  }

  get running(): number {
    return this.ids().filter((id) => this.look(id).state === 'running').length;
  }

  reasons(type: GroupEvent['type']): string[] {
    return this.records.flatMap(({ events }) =>
      events.flatMap((event) => (event.type === type && 'reason' in event ? [event.reason] : [])),
    );
  }
}

let world: World;
beforeEach(() => (world = new World()));

describe('a group', () => {
  it('adds what is missing, says why, and has it on record before it is created', () => {
    world.record({ type: 'created', tenant: 'default', name: 'web', replicas: 3, ...version('a') });
    let ids = 0;
    const { events } = planGroup(world.life!, { look: (id) => world.look(id), newId: () => `x${++ids}`, now: T0 });
    expect(events).toHaveLength(3);
    expect(events[0]).toMatchObject({ type: 'memberAdded', microvmId: 'x1', reason: '0 of 3 are there' });
    world.settle();
    world.boot();
    expect(summariseGroup(world.life!)).toMatchObject({
      rollout: { state: 'done', reason: null },
      counts: { current: 3, outdated: 0, ready: 3, leaving: 0 },
    });
  });

  it('adds many in several decisions', () => {
    world.create(120);
    expect(world.ids()).toHaveLength(120);
    expect(Math.max(...world.records.map(({ events }) => events.length))).toBe(GROUP_LIMITS.addedAtOnce);
  });

  it.each(['failed', 'stopped'] as const)('replaces a member that has %s', (state) => {
    world.create(2);
    world.boot();
    const [first] = world.ids();
    world.set(first!, state, { reason: 'boom', ranMs: GROUP_LIMITS.goodRun });
    expect(world.settle()).toBe(T0 + GROUP_LIMITS.firstBackoff);
    expect(world.ids()).toHaveLength(1);
    world.now += GROUP_LIMITS.firstBackoff;
    world.settle();
    expect(world.ids()).toHaveLength(2);
    expect(world.reasons('memberRetired')).toEqual([`it is ${state}: boom`]);
    expect(world.reasons('memberGone')).toHaveLength(1);
  });

  it('replaces one that somebody deletes, at once', () => {
    world.create(2);
    world.boot();
    world.set(world.ids()[0]!, 'deleting');
    expect(world.settle()).toBeUndefined();
    expect(world.ids()).toHaveLength(2);
  });

  it('leaves alone what is unreachable, paused or restarting', () => {
    world.create(3);
    world.boot();
    const before = world.ids();
    (['unreachable', 'paused', 'requested'] as const).forEach((state, i) => world.set(before[i]!, state));
    world.settle();
    expect(world.ids()).toEqual(before);
  });

  it('waits longer and longer while its members fail, counting those that fail together once', () => {
    world.create(5);
    const waits: number[] = [];
    for (let round = 0; round < 4; round++) {
      world.boot('failed');
      const wakeAt = world.settle()!;
      waits.push(wakeAt - world.now);
      world.now = wakeAt;
      world.settle();
      expect(world.ids()).toHaveLength(5);
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000]);
    world.boot();
    world.now += GROUP_LIMITS.goodRun;
    world.set(world.ids()[0]!, 'failed', { ranMs: GROUP_LIMITS.goodRun });
    expect(world.settle()! - world.now).toBe(500);
  });

  it('scales down by those that never ran, then by the youngest, and never by a protected one', () => {
    world.create(3);
    world.boot();
    const [first, second, third] = world.ids();
    world.record({ type: 'scaled', replicas: 4 });
    world.settle();
    world.set(third!, 'running', { isProtected: true });
    world.record({ type: 'scaled', replicas: 2 });
    world.settle();
    expect(world.ids()).toEqual([first, third]);
    expect(world.look(second!).state).toBe('deleted');
    world.record({ type: 'scaled', replicas: 0 });
    world.settle();
    expect(world.ids()).toEqual([third]);
  });

  it('is deleted when its last member is', () => {
    world.create(2);
    world.boot();
    const [first] = world.ids();
    world.set(first!, 'running', { isProtected: true });
    world.record({ type: 'deleteRequested' });
    world.settle();
    expect([world.life!.state, world.ids()]).toEqual(['deleting', [first]]);
    world.set(first!, 'running', { isProtected: false });
    world.settle();
    expect(world.life!.state).toBe('deleted');
    expect(planGroup(world.life!, { look: (id) => world.look(id), newId: () => 'x', now: T0 })).toEqual({ events: [] });
  });

  it('gives its name free, and its history goes on', () => {
    world.create(1);
    world.record({ type: 'deleteRequested' });
    world.settle();
    expect(world.life!.state).toBe('deleted');
    world.create(2, 'b');
    expect(world.life).toMatchObject({ state: 'active', replicas: 2, wanted: { revision: 2 } });
    expect(() => world.create(2, 'b')).toThrow('refused');
  });
});

describe('a replacement of the spec', () => {
  const replace = (name: string, ...rest: [number?, number?]): void => {
    world.record({ type: 'specReplaced', ...version(name, ...rest) });
    world.settle();
  };

  it('goes one by one, waits for each, and never has fewer available', () => {
    world.create(3);
    world.boot();
    replace('b');
    const seen: string[] = [];
    while (viewGroup(world.life!).rollout.state === 'rolling') {
      expect(world.running).toBeGreaterThanOrEqual(3);
      expect(world.ids().length).toBeLessThanOrEqual(4);
      seen.push(`${world.ids('a').length}+${world.ids('b').length}`);
      world.boot();
    }
    expect(seen).toEqual(['3+1', '2+2', '1+3']);
    expect([world.ids('a').length, world.ids('b').length]).toEqual([0, 3]);
    expect(world.life!.stable.specHash).toBe('b');
  });

  it('makes room first when it may have none more', () => {
    world.create(4);
    world.boot();
    replace('b', 0, 2);
    for (let round = 0; viewGroup(world.life!).rollout.state === 'rolling'; round++) {
      expect(world.ids().length).toBeLessThanOrEqual(4);
      expect(world.running).toBeGreaterThanOrEqual(2);
      expect(round).toBeLessThan(10);
      world.boot();
    }
    expect(world.ids('b')).toHaveLength(4);
  });

  const failNewOnes = (): void => {
    for (let round = 0; world.life!.halted === null; round++) {
      expect(round).toBeLessThan(10);
      world.boot('failed', (image) => image === 'b');
      world.now = world.settle() ?? world.now;
      world.settle();
    }
  };

  it('stops when new ones fail, keeps the old ones, and replaces losses by the old spec', () => {
    world.create(3);
    world.boot();
    const old = world.ids();
    replace('b');
    failNewOnes();
    expect(summariseGroup(world.life!).rollout).toMatchObject({
      state: 'halted',
      reason: expect.stringContaining('3 members of the new spec failed') as string,
    });
    expect(world.ids('a')).toEqual(old);
    world.now += GROUP_LIMITS.longestBackoff;
    world.set(old[0]!, 'failed', { ranMs: 5 });
    world.now = world.settle()!;
    world.settle();
    world.boot();
    expect([world.ids('a').length, world.ids('b').length]).toEqual([3, 0]);
    expect(world.life!.halted).not.toBeNull();
  });

  it('is rolled back by the old spec, which touches no member that has it', () => {
    world.create(3);
    world.boot();
    replace('b');
    world.boot();
    const old = world.ids('a');
    expect([old.length, world.ids('b').length]).toEqual([2, 2]);
    replace('a');
    world.boot();
    world.boot();
    expect([world.ids('a').length, world.ids('b').length]).toEqual([3, 0]);
    expect(world.ids('a').slice(0, 2)).toEqual(old);
    expect(summariseGroup(world.life!).rollout.state).toBe('done');
  });

  it('is tried again with the same spec', () => {
    world.create(2);
    world.boot();
    replace('b');
    failNewOnes();
    replace('b');
    expect(world.life!.halted).toBeNull();
    world.boot();
    world.boot();
    world.boot();
    expect(world.ids('b')).toHaveLength(2);
  });
});

describe('whatever happens', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constant({ do: 'boot' as const }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('fails' as const), which: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('vanishes' as const), which: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('scale' as const), replicas: fc.nat(6) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('replace' as const), name: fc.constantFrom('a', 'b', 'c') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.nat(600_000) }) },
  );

  it('never has more members than it may, takes none away that are needed, and comes to rest with what was asked for', () => {
    fc.assert(
      fc.property(
        fc.nat(6),
        fc.constantFrom<[number, number]>([1, 0], [0, 1], [2, 1]),
        fc.array(step, { maxLength: 30 }),
        (replicas, [surge, unavailable], steps) => {
          world = new World();
          world.create(replicas, 'a', surge, unavailable);
          for (const one of steps) {
            const ids = world.ids();
            const runningBefore = world.running;
            if (one.do === 'boot') world.boot();
            else if (one.do === 'scale') world.record({ type: 'scaled', replicas: one.replicas });
            else if (one.do === 'replace')
              world.record({ type: 'specReplaced', ...version(one.name, surge, unavailable) });
            else if (one.do === 'time') world.now += one.ms;
            else if (ids.length > 0) {
              const id = ids[one.which % ids.length]!;
              world.set(id, one.do === 'fails' ? 'failed' : 'deleting', { ranMs: 5, reason: 'boom' });
              if (one.do === 'vanishes') world.set(id, 'deleted');
            }
            const lost = one.do === 'fails' || one.do === 'vanishes' ? 1 : 0;
            world.settle();
            const { replicas: n } = world.life!;
            expect(world.ids().length).toBeLessThanOrEqual(n + surge);
            expect(world.running).toBeGreaterThanOrEqual(Math.min(runningBefore - lost, n - unavailable));
          }
          for (let round = 0; round < 40; round++) {
            world.now = Math.max(world.now, world.settle() ?? 0);
            world.boot();
          }
          expect(world.ids()).toHaveLength(world.life!.replicas);
          expect(world.running).toBe(world.life!.replicas);
          if (world.life!.halted === null) expect(world.ids(world.life!.wanted.specHash)).toEqual(world.ids());
          const replayed = (JSON.parse(JSON.stringify(world.records)) as GroupRecord[]).reduce<GroupLife | null>(
            (life, record, i) => foldGroupRecord(life, record, i + 1),
            null,
          )!;
          expect(viewGroup(replayed)).toEqual(viewGroup(world.life!));
          expect(replayed).toEqual(world.life);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('refuses a record that it would not have written', () => {
    world.create(1);
    world.boot();
    const forged: GroupRecord = {
      ...world.records[0]!,
      from: 'active',
      to: 'active',
      events: [{ type: 'memberGone', microvmId: 'stranger', reason: '' }],
    };
    expect(() => foldGroupRecord(world.life, forged, 9)).toThrow('group without stranger');
    expect(() => foldGroupRecord(world.life, { ...forged, events: [{ type: 'deleted' }] }, 9)).toThrow('deleted');
  });
});
