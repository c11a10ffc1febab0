import type { BusClient } from '#bus';
import {
  createGroup,
  createMicrovm,
  deleteGroup,
  deleteMicrovm,
  dryRunPlacement,
  getGroup,
  GROUP_LABEL,
  groupHistoryOf,
  listGroups,
  listMicrovms,
  MICROVM_STATES,
  MicrovmSpec,
  protectMicrovm,
  replaceGroupSpec,
  scaleGroup,
  SHARED,
  type Group,
  type GroupCreate,
  type Microvm,
  type RequestOf,
} from '#protocol';
import { TenantDirectory } from '#tenancy';
import { ControlPlane } from '../support/control-plane';
import { until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import type { ScriptedHost } from '../support/scripted-host';

jest.setTimeout(120_000);

describeWithNats('groups', () => {
  let plane: ControlPlane;
  let bus: BusClient;
  let hosts: ScriptedHost[];
  let groups = 0;

  const persist = { repeatAfterMs: 1_000, deadlineMs: 20_000 };
  const spec = (cmdline = 'one') => ({ image: 'canary', memoryMiB: 4, cmdline });
  const create = async (replicas: number, more: Partial<RequestOf<typeof createGroup>> = {}): Promise<Group> =>
    (await bus.call(createGroup, { name: `g${++groups}`, replicas, spec: spec(), ...more }, persist)).group;
  const get = async (id: string): Promise<Group> => (await bus.call(getGroup, { id }, persist)).group;
  /** Living microVMs with the group's label, whoever made them. */
  const labelled = async ({ name }: Pick<GroupCreate, 'name'>): Promise<Microvm[]> =>
    (await bus.call(listMicrovms, { labels: { [GROUP_LABEL]: name }, limit: 1_000 }, persist)).items;
  const settled = async (id: string, replicas: number, cmdline = 'one'): Promise<Microvm[]> => {
    let members: Microvm[] = [];
    await until(
      `${id} has ${replicas} members`,
      async () => {
        const group = await get(id);
        members = await labelled(group);
        const running = members.filter((one) => one.state === 'running' && one.cmdline === cmdline);
        const { counts, rollout } = group;
        return (
          running.length === replicas &&
          members.length === replicas &&
          counts.ready === replicas &&
          counts.leaving === 0 &&
          rollout.state === 'done'
        );
      },
      40_000,
    );
    return members;
  };

  beforeAll(async () => {
    const natsConfig = 'ping_interval: "1s"\nping_max: 2';
    plane = await ControlPlane.start({
      natsConfig,
      controllers: ['first', 'second'],
      // Before there are controllers: each hears of a tenant in its own time.
      before: async (nats) => {
        const tenants = await TenantDirectory.open(nats);
        await tenants.put('narrow', { quotas: { microvms: 2 }, coresidency: SHARED });
        tenants.close();
      },
    });
    ({ bus } = plane);
    const ids = ['host-a', 'host-b', 'host-c'];
    hosts = await Promise.all(ids.map((id) => plane.host(id)));
    const isKnown = async (id: string): Promise<boolean> => {
      const placements = [{ spec: MicrovmSpec.parse(spec()) }];
      const excluded = ids.filter((other) => other !== id);
      return (await bus.call(dryRunPlacement, { placements, excluded })).receipts[0]!.hostId === id;
    };
    await until('placement knows them all', async () => !(await Promise.all(ids.map(isKnown))).includes(false));
  });
  afterAll(() => plane?.stop());
  beforeEach(() => {
    for (const host of hosts) host.script = () => 'obey';
  });
  afterEach(async () => {
    expect(await plane.violations()).toEqual([]);
  });

  it('are kept as large as they shall be, spread, and every step is on record', async () => {
    const { id } = await create(6);
    const members = await settled(id, 6);
    const onHost = hosts.map((host) => members.filter(({ hostId }) => hostId === host.id).length);
    expect(Math.max(...onHost)).toBeLessThanOrEqual(3);
    await bus.call(scaleGroup, { id, replicas: 9 }, persist);
    await settled(id, 9);
    await bus.call(scaleGroup, { id, replicas: 2, by: 'somebody' }, persist);
    await settled(id, 2);

    const { entries } = await bus.call(groupHistoryOf, { id }, persist);
    const events = entries.flatMap((entry) => entry.events);
    const count = (type: string) => events.filter((event) => event.type === type).length;
    expect([count('memberAdded'), count('memberReady'), count('memberRetired'), count('memberGone')]).toEqual([
      9, 9, 7, 7,
    ]);
    expect(entries.find((entry) => entry.cause.by === 'somebody')?.events).toEqual([{ type: 'scaled', replicas: 2 }]);
    expect(events.every((event) => !('spec' in event))).toBe(true);
  });

  it('replace what fails and what is deleted, and touch nothing that is not theirs', async () => {
    const group = await create(3);
    const before = await settled(group.id, 3);
    const stranger = { ...spec(), labels: { [GROUP_LABEL]: group.name } };
    const { microvm } = await bus.call(createMicrovm, { spec: stranger }, persist);
    await bus.call(deleteMicrovm, { id: before[0]!.id }, persist);
    const failing = before[1]!;
    const host = hosts.find(({ id }) => id === failing.hostId)!;
    host.held.set(failing.id, { epoch: failing.epoch, as: 'ended' });
    await host.tell(failing.id, {
      type: 'exited',
      hostId: host.id,
      epoch: failing.epoch,
      exit: { reason: 'panic', message: 'it panicked', at: Date.now() },
    });
    await until('two are new', async () => {
      const ids = (await labelled(group)).filter(({ state }) => state === 'running').map(({ id }) => id);
      return ids.length === 4 && ids.includes(microvm.id) && ids.includes(before[2]!.id);
    });
    const { members } = await get(group.id);
    expect(members.some(({ microvmId }) => microvmId === microvm.id)).toBe(false);
    await bus.call(scaleGroup, { id: group.id, replicas: 0 }, persist);
    await until('its members are gone', async () => (await labelled(group)).map(({ id }) => id).join() === microvm.id);
    await bus.call(deleteMicrovm, { id: microvm.id }, persist);
  });

  it('never have a member too many, whenever controllers are killed', async () => {
    const { id, name } = await create(20);
    const accepted = [20];
    for (const [round, replicas] of [35, 5, 28].entries()) {
      // In the middle of what the change before asked for.
      await plane.controllers[round % 2]!.kill('SIGKILL');
      await bus.call(scaleGroup, { id, replicas }, persist);
      await plane.controllers[round % 2]!.restart();
      accepted.push(replicas);
    }
    await settled(id, 28);
    expect(await labelled({ name })).toHaveLength(28);
    const { entries } = await bus.call(groupHistoryOf, { id }, persist);
    const events = entries.flatMap((entry) => entry.events);
    expect(events.flatMap((event) => (event.type === 'scaled' ? [event['replicas']] : []))).toEqual(accepted.slice(1));
    const added = events.filter(({ type }) => type === 'memberAdded').map((event) => event['microvmId']);
    expect(new Set(added).size).toBe(added.length);
    // Whatever was ever made for this group is on its record.
    const request = { labels: { [GROUP_LABEL]: name }, state: [...MICROVM_STATES], limit: 1_000 };
    const ever = (await bus.call(listMicrovms, request, persist)).items.map((one) => one.id);
    expect(ever.filter((one) => !added.includes(one))).toEqual([]);
    expect(ever).toHaveLength(added.length);
  });

  it('replace their members one by one when the spec is replaced', async () => {
    const { id } = await create(4);
    await settled(id, 4);
    await bus.call(replaceGroupSpec, { id, spec: spec('two') }, persist);
    const least: number[] = [];
    await until(
      'all are new',
      async () => {
        const group = await get(id);
        const members = await labelled(group);
        least.push(members.filter(({ state }) => state === 'running').length);
        return group.rollout.state === 'done' && group.counts.outdated === 0;
      },
      40_000,
    );
    expect(Math.min(...least)).toBeGreaterThanOrEqual(4);
    await settled(id, 4, 'two');
  });

  it('stop a replacement whose members fail, and go back to the old spec when told', async () => {
    const { id } = await create(3);
    const before = (await settled(id, 3)).map((one) => one.id);
    for (const host of hosts) {
      host.script = (command) =>
        command.type === 'start' && command.spec.cmdline === 'bad' ? { refuse: 'not this one' } : 'obey';
    }
    const bad = { ...spec('bad'), waitSeconds: 0 };
    await bus.call(replaceGroupSpec, { id, spec: bad }, persist);
    await until('it is halted', async () => (await get(id)).rollout.state === 'halted', 60_000);
    const halted = await get(id);
    expect(halted.rollout.reason).toContain('members of the new spec failed');
    expect((await labelled(halted)).map((one) => one.id).filter((one) => before.includes(one))).toEqual(before);
    await bus.call(replaceGroupSpec, { id, spec: spec() }, persist);
    expect((await settled(id, 3)).map((one) => one.id)).toEqual(before);
  });

  it('cannot be deleted with a protected member, and otherwise leave nothing', async () => {
    const { id, name } = await create(3);
    const [one] = await settled(id, 3);
    await bus.call(protectMicrovm, { id: one!.id, enabled: true }, persist);
    await expect(bus.call(deleteGroup, { id })).rejects.toMatchObject({
      code: 'conflict',
      message: `group ${id} has members that are protected from deletion: ${one!.id}; lift that first (volley protect ID off)`,
    });
    await bus.call(protectMicrovm, { id: one!.id, enabled: false }, persist);
    await bus.call(deleteGroup, { id }, persist);
    await until('it is deleted', async () => (await get(id)).state === 'deleted');
    expect(await labelled({ name })).toEqual([]);
    expect((await bus.call(listGroups, {})).items.map((group) => group.id)).not.toContain(id);
    await expect(bus.call(scaleGroup, { id, replicas: 1 })).rejects.toMatchObject({ code: 'notFound' });
  });

  it('wait for room in the quotas of their tenant, and say so', async () => {
    const tenants = await TenantDirectory.open(plane.nats);
    const quota = (microvms: number) => tenants.put('narrow', { quotas: { microvms }, coresidency: SHARED });
    const { id } = await create(3, { spec: { ...spec(), tenant: 'narrow' } });
    await until('one waits', async () => (await get(id)).members.some(({ reason }) => reason?.includes('quotas')));
    await until('two run', async () => (await get(id)).counts.ready === 2);
    const waiting = (await get(id)).members.find(({ state }) => state === 'coming');
    expect(waiting?.reason).toContain('cannot create it yet: tenant narrow has no room left in its quotas');
    await quota(3);
    const members = await settled(id, 3);
    expect(members.map((one) => one.id)).toContain(waiting!.microvmId);
    // What was never made is given up without a trace of a run.
    await quota(3);
    await bus.call(scaleGroup, { id, replicas: 5 }, persist);
    await until('two wait', async () => (await get(id)).members.filter(({ reason }) => reason !== null).length === 2);
    await bus.call(scaleGroup, { id, replicas: 3 }, persist);
    expect((await settled(id, 3)).map((one) => one.id).sort()).toEqual(members.map((one) => one.id).sort());
    tenants.close();
  });

  it('are created once, and say what is wrong with a request', async () => {
    const wanted = { name: 'once', replicas: 1, spec: spec() };
    const answers = await Promise.all([1, 2, 3].map(() => bus.call(createGroup, wanted, persist)));
    expect(answers.filter(({ created }) => created)).toHaveLength(1);
    await expect(bus.call(createGroup, { ...wanted, replicas: 2 })).rejects.toMatchObject({ code: 'conflict' });
    for (const [request, message] of [
      [{ ...wanted, name: 'Upper' }, 'lower-case'],
      [{ ...wanted, name: 'x', spec: { ...spec(), image: 'nothing' } }, 'no image "nothing"'],
      [{ ...wanted, name: 'x', spec: { ...spec(), deleteProtection: true } }, 'means nothing here'],
      [{ ...wanted, name: 'x', maxSurge: 0, maxUnavailable: 0 }, 'cannot both be 0'],
    ] as const) {
      await expect(bus.call(createGroup, request)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining(message) as string,
      });
    }
    const moved = { id: 'default_once', spec: { ...spec(), tenant: 'acme' } };
    await expect(bus.call(replaceGroupSpec, moved)).rejects.toMatchObject({ code: 'invalid' });
  });
});
