import fc from 'fast-check';
import { HOST_STATES, type HostDescription, type HostEvent, type HostRecord } from '#protocol';
import { decideHostEvents, foldHostRecord, hostState, viewHost, type HostLife } from './host.fold';
import { HOST_MACHINE_VERSION } from './host.machine';

const T0 = 1_700_000_000_000;
const description: HostDescription = {
  hostId: 'host-a',
  hostname: 'a',
  kernel: '6.1',
  agentVersion: '0.1.0',
  bootId: 'boot',
  kvm: { available: true, kind: 'software' },
  cpus: 2,
  memoryMiB: 4096,
  reserveMiB: 512,
  slots: 16,
  overcommit: { cpu: 4, memory: 1.5 },
  images: ['canary'],
  labels: {},
};
const drain: HostEvent = { type: 'drainRequested', parallel: 2, graceMs: 500, kept: 'wait' };
const registered: HostEvent = { type: 'registered', description };

const progress = { total: 3, moved: 1, moving: 1, waiting: 1, stopped: 0, failed: 0 };
const occasion = { hostId: 'host-a', commandId: 'c', cause: { kind: 'controller' as const, by: 'test' }, at: T0 };

function live(events: HostEvent[]): { life: HostLife | null; records: HostRecord[]; effects: string[] } {
  let life: HostLife | null = null;
  const records: HostRecord[] = [];
  const effects: string[] = [];
  events.forEach((event, i) => {
    const decision = decideHostEvents(life, [event], {
      hostId: 'host-a',
      commandId: `c${i}`,
      cause: { kind: 'controller', by: 'test' },
      at: T0 + i,
    });
    if (decision.kind !== 'record') return;
    effects.push(...decision.advance.effects.map(({ type }) => type));
    records.push(decision.record);
    life = { ...decision.advance.life, id: 'host-a', revision: records.length };
  });
  return { life, records, effects };
}

const reading = {
  ...{ cpuPressure: 1, memoryPressure: 0, vcpuWait: null },
  ...{ availableMemory: 11, availableMiB: 110, usableMiB: 1_000 },
};
const acted = (batch: string): HostEvent => ({
  ...{ type: 'guardsActed', batch, omitted: 0 },
  acts: [
    { act: 'admission', at: T0, class: 'bestEffort', open: false, reason: 'available memory', afterMs: 5, reading },
  ],
});

describe('what a host goes by', () => {
  const policy = { hostClass: 'dense', revision: 7, settings: null };

  it('is of the class that its agent names, until an operator says another', () => {
    const named: HostEvent = { type: 'registered', description: { ...description, hostClass: 'plain' } };
    expect(viewHost(live([registered]).life!).hostClass).toEqual({ name: 'default', by: 'agent' });
    expect(viewHost(live([named]).life!).hostClass).toEqual({ name: 'plain', by: 'agent' });
    const assigned: HostEvent = { type: 'classAssigned', hostClass: 'dense' };
    expect(viewHost(live([named, assigned]).life!).hostClass).toEqual({ name: 'dense', by: 'operator' });
    const { life, records } = live([named, assigned, { type: 'classAssigned', hostClass: null }]);
    expect(viewHost(life!).hostClass).toEqual({ name: 'plain', by: 'agent' });
    expect(records.reduce<HostLife | null>((at, one, i) => foldHostRecord(at, one, i + 1), null)).toEqual(life);
  });

  it('is on record in any state, and what its guards did is on record once', () => {
    const { life, records } = live([
      ...[registered, { type: 'admitted' } as const, { type: 'leaseExpired' } as const],
      ...[{ type: 'policyApplied', policy } as const, acted('a'), acted('a'), acted('b')],
    ]);
    expect(viewHost(life!)).toMatchObject({ state: 'unreachable', policy });
    expect(records.map(({ events }) => events[0]!.type).slice(3)).toEqual([
      'policyApplied',
      'guardsActed',
      'guardsActed',
    ]);
  });

  it('is not written while a controller that could not read it takes part', () => {
    const { life } = live([registered]);
    for (const event of [{ type: 'policyApplied', policy } as const, acted('a')])
      expect(decideHostEvents(life, [event], { ...occasion, machine: 2 }).kind).toBe('refused');
  });
});

describe('the host machine', () => {
  it.each<[string, HostEvent[], string]>([
    ['joining', [registered], ''],
    ['ready', [registered, { type: 'admitted' }], ''],
    ['cordoned', [registered, { type: 'admitted' }, { type: 'cordonRequested' }], ''],
    ['unreachable', [registered, { type: 'admitted' }, { type: 'leaseExpired' }], 'tellHostLost'],
    ['unreachable', [registered, { type: 'deadlinePassed', timer: 'joinDeadline' }], 'tellHostLost'],
    [
      'lost',
      [registered, { type: 'admitted' }, { type: 'leaseExpired' }, { type: 'deadlinePassed', timer: 'lostAfter' }],
      'tellHostGone',
    ],
    [
      'retired',
      [registered, { type: 'admitted' }, { type: 'leaseExpired' }, { type: 'retireRequested' }],
      'tellHostGone',
    ],
    ['ready', [registered, { type: 'admitted' }, { type: 'leaseExpired' }, registered], 'tellHostLost'],
    [
      'cordoned',
      [registered, { type: 'admitted' }, { type: 'leaseExpired' }, { type: 'cordonRequested' }, registered],
      'tellHostLost',
    ],
    ['draining', [registered, drain, { type: 'admitted' }], ''],
    ['draining', [registered, { type: 'admitted' }, drain], ''],
    ['drained', [registered, { type: 'admitted' }, drain, { type: 'drainCompleted' }], ''],
    ['draining', [registered, { type: 'admitted' }, drain, { type: 'drainCompleted' }, { type: 'drainReopened' }], ''],
    ['unreachable', [registered, { type: 'admitted' }, drain, { type: 'leaseExpired' }], 'tellHostLost'],
  ])('comes to %s', (state, events, lastEffect) => {
    const { life, effects } = live(events);
    expect(hostState(life!)).toBe(state);
    expect(effects.at(-1) ?? '').toBe(lastEffect);
  });

  it.each<[string, HostEvent[]]>([
    ['ready', []],
    ['cordoned', [{ type: 'cordonRequested' }]],
  ])('is %s again when a drain is cancelled, also one that was complete', (before, events) => {
    for (const more of [[], [{ type: 'drainCompleted' }]] as HostEvent[][]) {
      const { life } = live([registered, { type: 'admitted' }, ...events, drain, ...more, { type: 'drainCancelled' }]);
      expect(hostState(life!)).toBe(before);
      expect(viewHost(life!).drain).toBeUndefined();
    }
  });

  it.each<[string, HostEvent[]]>([
    ['under way', []],
    ['complete', [{ type: 'drainCompleted' }]],
  ])('remembers a drain that is %s while it is away, with how far it had come', (_, events) => {
    const { life } = live([
      registered,
      { type: 'admitted' },
      drain,
      { type: 'drainProgressed', progress },
      ...events,
      { type: 'leaseExpired' },
      { type: 'deadlinePassed', timer: 'lostAfter' },
      registered,
    ]);
    expect(hostState(life!)).toBe('draining');
    expect(viewHost(life!).drain).toMatchObject({ parallel: 2, graceMs: 500, kept: 'wait', progress });
  });

  it('takes another order for a drain under way, and goes on counting', () => {
    const { life } = live([
      registered,
      { type: 'admitted' },
      drain,
      { type: 'drainProgressed', progress },
      { ...drain, parallel: 8, kept: 'stop' },
    ]);
    expect(viewHost(life!).drain).toEqual({
      parallel: 8,
      graceMs: 500,
      kept: 'stop',
      requestedAt: T0 + 2,
      progress,
    });
  });

  it('does not take an uncordon for the end of a drain', () => {
    for (const away of [[], [{ type: 'leaseExpired' }]] as HostEvent[][]) {
      const cordoned = live([registered, { type: 'admitted' }, { type: 'cordonRequested' }, drain, ...away]);
      expect(decideHostEvents(cordoned.life, [{ type: 'uncordonRequested' }], occasion).kind).toBe('refused');
    }
  });

  it('cannot be retired while it answers', () => {
    const { life } = live([registered, { type: 'admitted' }, { type: 'retireRequested' }]);
    expect(hostState(life!)).toBe('ready');
  });

  it('stays in known states under any events and replays to the same', () => {
    const anyEvent = fc.constantFrom<HostEvent>(
      registered,
      { type: 'admitted' },
      { type: 'leaseExpired' },
      { type: 'cordonRequested' },
      { type: 'uncordonRequested' },
      { type: 'retireRequested' },
      drain,
      { type: 'drainCancelled' },
      { type: 'drainProgressed', progress },
      { type: 'drainCompleted' },
      { type: 'drainReopened' },
      { type: 'deadlinePassed', timer: 'lostAfter' },
      { type: 'deadlinePassed', timer: 'joinDeadline' },
    );
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 30 }), (events) => {
        const { life, records } = live([registered, ...events]);
        expect(HOST_STATES).toContain(hostState(life!));
        const replayed = records.reduce<HostLife | null>(
          (folded, record, i) => foldHostRecord(folded, record, i + 1),
          null,
        )!;
        expect(viewHost(replayed)).toEqual(viewHost(life!));
      }),
    );
  });

  it('writes no version that its own readers do not know, also when all controllers know a newer one of microVMs', () => {
    const decision = decideHostEvents(null, [registered], { ...occasion, machine: HOST_MACHINE_VERSION + 1 });
    expect(decision).toMatchObject({ record: { machine: HOST_MACHINE_VERSION } });
  });
});
