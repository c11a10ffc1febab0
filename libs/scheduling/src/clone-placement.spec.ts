import { chooseHost } from './choose-host';
import { explainNone, verdictOn } from './explain';
import { AT, demand, host, tableOf } from './scheduling.fixtures';

const ID = '01hzzzzzzzzzzzzzzzzzzzzzz0';
const SOFTWARE = { kvm: 'software' as const };
const CPU = { vendor: 'AuthenticAMD', family: 25, model: 1, stepping: 1, features: 'aaaa' };
const MIB = 2 ** 20;

describe('where clones are placed', () => {
  const near = (fetchMiB: number | undefined, hosts = ['h7']) =>
    demand({ template: { id: ID, hosts, ...(fetchMiB === undefined ? {} : { fetchBytes: fetchMiB * MIB }) } });

  it('is where their template is, however many hosts there are, and only there while nobody can fetch it', () => {
    const table = tableOf(...Array.from({ length: 100 }, (_, i) => host(`h${i}`)));
    for (let seed = 0; seed < 50; seed++) {
      expect(chooseHost({ table, demand: near(undefined), at: AT }, seed).hostId).toBe('h7');
      const choice = chooseHost({ table, demand: near(35), at: AT }, seed);
      expect(choice.hostId).toBe('h7');
      expect(choice.compared).toHaveLength(3);
    }
    const without = { table: tableOf(host('h1')), demand: near(undefined), at: AT };
    expect(explainNone(without)).toMatchObject({ filter: 'template', hopeless: true });
    expect(explainNone(without).reason).toContain(
      `h1: does not hold template ${ID}, which the object store does not have`,
    );
  });

  it('is elsewhere when the hosts that hold it cannot take them, or are so full that fetching it is worth its time', () => {
    const at = (change: object, fetchMiB: number) =>
      chooseHost({ table: tableOf(host('h7', change), host('h8')), demand: near(fetchMiB), at: AT }, 1).hostId;
    expect(at({ state: 'unreachable' }, 10_000)).toBe('h8');
    const full = { free: { slots: 9, vcpus: 4, memoryMiB: 300 } };
    expect(at(full, 35)).toBe('h8');
    expect(at(full, 10_000)).toBe('h7');
  });

  it.each([
    [undefined, SOFTWARE, 'the host restores no snapshots'],
    [
      { kvm: 'software' as const },
      { kvm: 'hardware' as const },
      'the host has software KVM, the template needs hardware KVM',
    ],
    [SOFTWARE, { ...SOFTWARE, format: 2 }, 'the host reads snapshots of format 1, the template has format 2'],
    [
      { ...SOFTWARE, cpu: { ...CPU, vendor: 'GenuineIntel' } },
      { ...SOFTWARE, cpu: CPU },
      'the host has a processor of GenuineIntel, the template needs one of AuthenticAMD',
    ],
    [
      { ...SOFTWARE, cpu: { ...CPU, features: 'bbbb', model: 2 } },
      { ...SOFTWARE, cpu: CPU },
      "the host's processor (AuthenticAMD family 25 model 2) shows guests the features bbbb, the template needs aaaa (AuthenticAMD family 25 model 1)",
    ],
  ])('is not on a host that cannot restore them, with the reason: %j', (snapshots, platform, reason) => {
    const template = { id: ID, hosts: ['h7'], platform };
    const occasion = { table: tableOf(host('h7', { snapshots })), demand: demand({ template }), at: AT };
    const choice = chooseHost(occasion, 1);
    expect(choice.hostId).toBeNull();
    const verdict = verdictOn(occasion.table.rows[0]!, occasion, choice);
    expect(verdict.filters.filter(({ passed }) => !passed)).toEqual([
      { name: 'platform', passed: false, detail: `template ${ID}: ${reason}` },
    ]);
    expect(explainNone(occasion)).toMatchObject({ filter: 'platform', hopeless: true });
    const fits = { ...occasion, table: tableOf(host('h7', { snapshots: platform })) };
    expect(chooseHost(fits, 1).hostId).toBe('h7');
  });
});
