import pino from 'pino';
import {
  applyGroupEvents,
  decideGroupEvents,
  summariseGroup,
  type GroupLife,
  type GroupMember,
  type MicrovmLife,
  type Sighting,
} from '#lifecycle';
import { MicrovmSpec, OperationError, type GroupEvent } from '#protocol';
import type { MicrovmHistories } from '../histories/microvm-histories';
import type { Partitions } from '../partitions/partitions';
import type { GroupHistories } from './group-histories';
import type { GroupMembers } from './group-members';
import { GroupReconciler } from './group-reconciler';

const ID = 'default_web';
const START_MS = 10;
/** What the histories of a member tell of while it starts. */
const STEPS = ['requested', 'placing', 'starting', 'running'] as const;

/** One group, whose members start as a script says, without a fleet. */
class World {
  life: GroupLife;
  /** Looks at the group, one for each plan. */
  plans = 0;
  changes = 0;
  creates = 0;
  start: (member: GroupMember) => Promise<void> = (member) => this.#startUp(member);
  readonly reconciler: GroupReconciler;
  readonly #states = new Map<string, Sighting['state']>();
  #groupChanged: (life: GroupLife) => void = () => undefined;
  #microvmChanged: (life: MicrovmLife) => void = () => undefined;

  constructor(replicas: number) {
    const spec = MicrovmSpec.parse({ image: 'canary' });
    const version = { spec, specHash: 'x', maxSurge: 1, maxUnavailable: 0 };
    const created: GroupEvent = { type: 'created', tenant: 'default', name: 'web', replicas, ...version };
    this.life = { ...applyGroupEvents(ID, null, [created], Date.now()), revision: 1 };
    this.reconciler = new GroupReconciler(
      this.#groups(),
      this.#members(),
      { owns: () => true, onChange: () => undefined } as unknown as Partitions,
      {
        listen: ({ changed }: { changed: (life: MicrovmLife) => void }) => (this.#microvmChanged = changed),
      } as unknown as MicrovmHistories,
      pino({ level: 'silent' }),
      new AbortController().signal,
    );
    this.#groupChanged(this.life);
  }

  get ready(): number {
    return summariseGroup(this.life).counts.ready;
  }

  #groups(): GroupHistories {
    const decide: GroupHistories['decide'] = (groupId, who, events) => {
      const decision = decideGroupEvents(this.life, events(this.life), { groupId, ...who, at: Date.now() });
      if (decision.kind === 'record') {
        this.life = { ...decision.advance.life, revision: this.life.revision + 1 };
        this.#groupChanged(this.life);
      }
      return Promise.resolve({ decision, life: this.life, appended: decision.kind === 'record' });
    };
    return {
      get: () => (this.plans++, this.life),
      all: () => [this.life],
      groupOf: (microvmId: string) => (this.life.members.has(microvmId) ? ID : undefined),
      onChange: (listener: (life: GroupLife) => void) => (this.#groupChanged = listener),
      decide,
    } as unknown as GroupHistories;
  }

  #members(): GroupMembers {
    return {
      sighted: (microvmId: string): Promise<Sighting> =>
        Promise.resolve({
          state: this.#states.get(microvmId) ?? 'unborn',
          reason: null,
          isProtected: false,
          ranMs: null,
        }),
      create: (_: GroupLife, member: GroupMember) => (this.creates++, this.start(member)),
    } as unknown as GroupMembers;
  }

  async #startUp({ microvmId }: GroupMember): Promise<void> {
    for (const state of STEPS) {
      await new Promise((resolve) => setTimeout(resolve, START_MS));
      this.#states.set(microvmId, state);
      this.changes++;
      this.#microvmChanged({ id: microvmId } as MicrovmLife);
    }
  }
}

describe('a group', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('of 1,000 is planned as often as time passes, not as often as its members change', async () => {
    const world = new World(1_000);
    const began = performance.now();
    while (world.ready < 1_000) await jest.advanceTimersByTimeAsync(START_MS);
    const passedMs = performance.now() - began;
    world.reconciler.onModuleDestroy();
    expect(world.changes).toBe(4_000);
    expect(world.creates).toBe(1_000);
    // Twenty to add them, fifty at a time; then one that decides something and one that does not, every 20 ms.
    expect(world.plans).toBeLessThanOrEqual(20 + 2 * (passedMs / 20 + 1));
  });

  it('is not held up when the clock is put back', async () => {
    const world = new World(1);
    world.start = () => Promise.reject(new OperationError('unavailable', 'no answer'));
    await jest.advanceTimersByTimeAsync(100);
    expect(world.creates).toBe(1);
    jest.setSystemTime(Date.now() - 3_600_000);
    await jest.advanceTimersByTimeAsync(2_000);
    expect(world.creates).toBe(3);
    world.reconciler.onModuleDestroy();
  });
});
