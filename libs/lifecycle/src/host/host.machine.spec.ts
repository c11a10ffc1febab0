import fc from 'fast-check';
import { HOST_STATES, type HostDescription, type HostEvent, type HostRecord } from '#protocol';
import { decideHostEvents, foldHostRecord, hostState, viewHost, type HostLife } from './host.fold';

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
const registered: HostEvent = { type: 'registered', description };

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
  ])('comes to %s', (state, events, lastEffect) => {
    const { life, effects } = live(events);
    expect(hostState(life!)).toBe(state);
    expect(effects.at(-1) ?? '').toBe(lastEffect);
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
});
