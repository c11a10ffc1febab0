import { decideHostEvents, nameLife, type HostLife } from '#lifecycle';
import { HostClass, type HostDescription, type HostEvent } from '#protocol';
import { isSamePolicy, wantedPolicy } from './wanted-policy';

const description: HostDescription = {
  ...{ hostId: 'host-a', hostname: 'a', kernel: '6.1', agentVersion: '0', bootId: 'b', kvm: { available: false } },
  ...{ cpus: 2, memoryMiB: 4_096, reserveMiB: 512, slots: 16, overcommit: { cpu: 4, memory: 1.5 } },
  ...{ images: [], hostClass: 'plain', labels: {} },
};

function hostAfter(...events: HostEvent[]): HostLife {
  const cause = { kind: 'controller' as const, by: 'test' };
  const all = [{ type: 'registered' as const, description }, ...events];
  const decision = decideHostEvents(null, all, { hostId: 'host-a', commandId: 'c', cause, at: 1 });
  if (decision.kind !== 'record') throw new Error(decision.kind);
  return nameLife(decision.advance.life, 'host-a', 1);
}

const dense = HostClass.parse({
  ...{ name: 'dense', createdAt: 1, updatedAt: 7 },
  policy: { kind: 'fixedRatio', cpu: 8, memory: 2 },
});
const named = (name: string) => (name === 'dense' ? dense : undefined);

describe('the policy that a host is to go by', () => {
  it('is its own where its class is not on record', () => {
    expect(wantedPolicy(hostAfter(), named)).toEqual({ hostClass: 'plain', revision: null, settings: null });
  });

  it('is that of the class it was put into, by the version of the class', () => {
    const wanted = wantedPolicy(hostAfter({ type: 'classAssigned', hostClass: 'dense' }), named);
    expect(wanted).toEqual({
      ...{ hostClass: 'dense', revision: 7 },
      settings: { policy: { kind: 'fixedRatio', cpu: 8, memory: 2 }, guards: {} },
    });
    expect(isSamePolicy(wanted, { ...wanted, settings: null })).toBe(true);
    expect(isSamePolicy(wanted, { ...wanted, revision: 6 })).toBe(false);
    expect(isSamePolicy(wanted, { ...wanted, hostClass: 'plain' })).toBe(false);
  });
});
