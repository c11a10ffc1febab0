import type { BusClient } from '#bus';
import { readHistories } from '#chaos';
import type { FleetView } from '#fleet';
import {
  createMicrovm,
  deleteMicrovm,
  getMicrovm,
  heartbeat,
  killMicrovm,
  MICROVM_STREAM,
  microvmHistory,
  microvmHistoryOf,
  OperationError,
  pauseMicrovm,
  placementOf,
  registerHost,
  reportFact,
  resumeMicrovm,
  startMicrovm,
  stopMicrovm,
  type HostStateName,
  type MicrovmSpecInput,
  type MicrovmStateName,
} from '#protocol';
import { ControlPlane } from '../support/control-plane';
import { until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import type { ScriptedHost } from '../support/scripted-host';

jest.setTimeout(90_000);

describeWithNats('the control plane, with a scripted host', () => {
  let plane: ControlPlane;
  let bus: BusClient;
  let view: FleetView;
  let host: ScriptedHost;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    ({ bus, view } = plane);
    host = await plane.host('host-a');
    // Placement has to hear of the host before it can choose it.
    await until('a create does not fail', async () => (await create()).state !== 'failed');
  });

  afterAll(() => plane?.stop());

  beforeEach(() => {
    host.script = () => 'obey';
  });

  const create = (spec?: Partial<MicrovmSpecInput>) => plane.create(spec);
  const reaches = (id: string, state: MicrovmStateName) => plane.reaches(id, state);
  const running = (spec?: Partial<MicrovmSpecInput>) => plane.running(spec);
  /** Hosts and microVMs have histories of their own, which the view hears of in any order. */
  const hostIs = (state: HostStateName) =>
    until(`host-a is ${state}`, () => Promise.resolve(view.host('host-a')?.state === state));
  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'no error',
      (error: unknown) => (error instanceof OperationError ? error.code : String(error)),
    );

  it('creates, and tells the whole story of it', async () => {
    const microvm = await running({ name: 'first', labels: { a: 'b' } });
    expect(microvm).toMatchObject({ name: 'first', hostId: 'host-a', epoch: 1, image: 'canary', labels: { a: 'b' } });
    const { entries } = await bus.call(microvmHistoryOf, { id: microvm.id });
    expect(entries.map(({ to, cause }) => `${cause.kind} ${to}`)).toEqual([
      'operator placing',
      'placement starting',
      'host running',
    ]);
    const { receipts } = await bus.call(placementOf, { microvmId: microvm.id });
    expect(receipts).toHaveLength(1);
    expect(receipts[0]).toMatchObject({ hostId: 'host-a', hosts: [{ hostId: 'host-a', verdict: 'chosen' }] });
  });

  it('refuses what a host says in the name of another one, and logs it as forged', async () => {
    const { id, epoch } = await running();
    const exit = { reason: 'killed', message: 'says a forger', at: Date.now() } as const;
    const fact = { type: 'exited', hostId: 'host-a', epoch: epoch!, exit } as const;
    const values = { hostId: 'host-b' };
    const description = { ...host.description(), hostId: 'host-a' };
    const forged = [
      bus.call(reportFact, { factId: 'forged', microvmId: id, at: Date.now(), fact }, { values }),
      bus.call(heartbeat, { hostId: 'host-a', at: Date.now() }, { values }),
      bus.call(registerHost, { description, inventory: [] }, { values }),
    ];
    expect(await Promise.all(forged.map(code))).toEqual(['forbidden', 'forbidden', 'forbidden']);
    const line = /"event":"forgedFact","hostId":"host-b","claimedHostId":"host-a"/;
    // What a process logs comes through a pipe, in its own time.
    await until('the controller logs the forger', () => Promise.resolve(line.test(plane.controller.log)));
    expect((await bus.call(getMicrovm, { id })).microvm.state).toBe('running');
  });

  it('pauses, resumes, stops, starts again and deletes; repeated commands are no error', async () => {
    const { id } = await running();
    for (let twice = 0; twice < 2; twice++) await bus.call(pauseMicrovm, { id });
    await reaches(id, 'paused');
    for (let twice = 0; twice < 2; twice++) await bus.call(resumeMicrovm, { id });
    await reaches(id, 'running');
    await bus.call(stopMicrovm, { id });
    expect((await reaches(id, 'stopped')).exit).toMatchObject({ reason: 'requested' });
    expect(await code(bus.call(pauseMicrovm, { id }))).toBe('conflict');
    await bus.call(startMicrovm, { id });
    expect(await reaches(id, 'running')).toMatchObject({ epoch: 2 });
    await bus.call(killMicrovm, { id });
    await reaches(id, 'stopped');
    await bus.call(deleteMicrovm, { id });
    await reaches(id, 'deleted');
    expect(host.held.has(id)).toBe(false);
    expect((await bus.call(getMicrovm, { id })).microvm.state).toBe('deleted');
    expect(await code(bus.call(startMicrovm, { id }))).toBe('conflict');
  });

  it('makes one microVM of concurrent creates with one key, and refuses the key with another body', async () => {
    const spec = { image: 'canary', memoryMiB: 16 };
    const replies = await Promise.all(
      Array.from({ length: 20 }, () => bus.call(createMicrovm, { spec, idempotencyKey: 'key-1' })),
    );
    expect(new Set(replies.map(({ microvm }) => microvm.id)).size).toBe(1);
    expect(replies.filter(({ created }) => created)).toHaveLength(1);
    await reaches(replies[0]!.microvm.id, 'running');
    expect(host.startsOf(replies[0]!.microvm.id)).toEqual([1]);
    const other = bus.call(createMicrovm, { spec: { ...spec, memoryMiB: 17 }, idempotencyKey: 'key-1' });
    expect(await code(other)).toBe('conflict');
  });

  it('makes one microVM of creates with one id, and refuses the id with another spec', async () => {
    const { id } = await running();
    const again = (spec: MicrovmSpecInput) => bus.call(createMicrovm, { spec, id });
    expect(await again({ image: 'canary' })).toMatchObject({ microvm: { id }, created: false });
    expect(await code(again({ image: 'canary', memoryMiB: 99 }))).toBe('conflict');
  });

  it.each<[string, Record<string, unknown>]>([
    ['an unknown image', { image: 'nope' }],
    ['no vcpu', { image: 'canary', vcpus: 0 }],
    ['a pebibyte', { image: 'canary', memoryMiB: 2 ** 30 }],
    ['a wrong type', { image: 7 }],
    ['an unknown field', { image: 'canary', colour: 'red' }],
  ])('refuses %s and leaves nothing behind', async (_, spec) => {
    const before = view.position;
    expect(await code(bus.call(createMicrovm, { spec } as never))).toBe('invalid');
    expect(view.position).toBe(before);
  });

  it('tries the next placement when the host refuses, and gives up with the reason', async () => {
    host.script = ({ type }) => (type === 'start' ? { refuse: 'no room on this host' } : 'obey');
    const { id } = await create();
    const failed = await reaches(id, 'failed');
    expect(failed.reason).toContain('not placed after');
    expect(view.list({ limit: 1000, state: ['failed'] }).items.map((one) => one.id)).toContain(id);
  });

  it('deletes in every state', async () => {
    const inState: [MicrovmStateName, () => Promise<string>][] = [
      ['running', async () => (await running()).id],
      [
        'starting',
        async () => {
          host.script = ({ type }) => (type === 'start' ? 'silent' : 'obey');
          return (await reaches((await create()).id, 'starting')).id;
        },
      ],
      [
        'paused',
        async () => {
          const { id } = await running();
          await bus.call(pauseMicrovm, { id });
          return (await reaches(id, 'paused')).id;
        },
      ],
      [
        'pausing',
        async () => {
          const { id } = await running();
          host.script = ({ type }) => (type === 'pause' ? 'silent' : 'obey');
          await bus.call(pauseMicrovm, { id });
          return (await reaches(id, 'pausing')).id;
        },
      ],
      [
        'stopping',
        async () => {
          const { id } = await running();
          host.script = ({ type }) => (type === 'stop' ? 'silent' : 'obey');
          await bus.call(stopMicrovm, { id });
          return (await reaches(id, 'stopping')).id;
        },
      ],
      [
        'stopped',
        async () => {
          const { id } = await running();
          await bus.call(stopMicrovm, { id });
          return (await reaches(id, 'stopped')).id;
        },
      ],
    ];
    for (const [state, make] of inState) {
      host.script = () => 'obey';
      const id = await make();
      expect(view.microvm(id)?.state).toBe(state);
      await bus.call(deleteMicrovm, { id });
      await reaches(id, 'deleted');
      expect(host.held.has(id)).toBe(false);
    }
  });

  it('goes on after its controller was killed, from what is on record', async () => {
    const kept = await Promise.all(Array.from({ length: 10 }, () => running()));
    // A start whose command the host never answered is asked again by the next controller.
    host.script = ({ type }) => (type === 'start' ? 'silent' : 'obey');
    const { id } = await create();
    await reaches(id, 'starting');
    await plane.controller.kill();
    host.script = () => 'obey';
    await plane.controller.restart();
    await reaches(id, 'running');
    for (const { id: keptId, epoch } of kept) {
      expect((await bus.call(getMicrovm, { id: keptId })).microvm).toMatchObject({ state: 'running', epoch });
    }
  });

  it('survives the death of nats-server: what was accepted stays, and work goes on', async () => {
    const before = await running();
    await plane.server.kill9();
    await plane.server.restart();
    await until('creates are taken again', async () => (await create()).id !== '');
    // Its host's lease may have run out meanwhile.
    expect(await reaches(before.id, 'running')).toMatchObject({ epoch: 1 });
    await running();
  });

  it('shows microVMs of a silent host as unreachable and takes them back as they are', async () => {
    const kept = await running();
    const paused = await running();
    await bus.call(pauseMicrovm, { id: paused.id });
    await reaches(paused.id, 'paused');
    const gone = await running();
    host.disconnect();
    await Promise.all([kept, paused, gone].map(({ id }) => reaches(id, 'unreachable')));
    await hostIs('unreachable');
    host.held.delete(gone.id);
    await host.connect();
    await reaches(kept.id, 'running');
    await reaches(paused.id, 'paused');
    expect((await reaches(gone.id, 'failed')).exit).toMatchObject({ reason: 'lost' });
    await hostIs('ready');
  });

  it('ignores facts of another incarnation and has it erased', async () => {
    const { id } = await running();
    await bus.call(stopMicrovm, { id });
    await reaches(id, 'stopped');
    await bus.call(startMicrovm, { id });
    await plane.reaches(id, ({ state, epoch }) => state === 'running' && epoch === 2);
    const recorded = await host.tell(id, {
      type: 'observed',
      hostId: 'host-a',
      epoch: 1,
      as: 'running',
      reason: 'a ghost',
    });
    expect(recorded).toBe(false);
    await until('the ghost is erased', () =>
      Promise.resolve(host.commands.some((c) => c.type === 'erase' && c.microvmId === id && c.epoch === 1)),
    );
    expect(view.microvm(id)).toMatchObject({ state: 'running', epoch: 2 });
  });

  it('has an incarnation erased that lives although its history has ended', async () => {
    const { id } = await running();
    await host.tell(id, {
      type: 'exited',
      hostId: 'host-a',
      epoch: 1,
      exit: { reason: 'killed', message: 'wrongly told', at: Date.now() },
    });
    await reaches(id, 'failed');
    expect(host.held.get(id)).toMatchObject({ as: 'running' });
    await host.register();
    await until('it is erased', () => Promise.resolve(!host.held.has(id)));
    expect(view.microvm(id)?.state).toBe('failed');
  });

  it('is not stopped by what strangers write into histories', async () => {
    const [garbled, forged] = [await running(), await running()];
    const records = await readHistories(plane.nats, MICROVM_STREAM.name);
    plane.nats.publish(microvmHistory(garbled.id), 'not a record');
    const last = records.filter(({ record }) => record.microvmId === forged.id).at(-1)!;
    plane.nats.publish(microvmHistory(forged.id), JSON.stringify({ ...last.record, commandId: 'forged' }));
    await until('both were seen', () => Promise.resolve(plane.skipped.length === 2));
    // Garbage is stepped over; a history with a forged step is left alone, and everything else goes on.
    await bus.call(pauseMicrovm, { id: garbled.id });
    await reaches(garbled.id, 'paused');
    expect(await code(bus.call(pauseMicrovm, { id: forged.id }))).toBe('internal');
    await running();
    await plane.controller.kill();
    await plane.controller.restart();
    await running();
    await bus.call(deleteMicrovm, { id: garbled.id });
    await reaches(garbled.id, 'deleted');
  });

  it('takes a repeated fact once', async () => {
    const { id } = await running();
    const fact = {
      type: 'exited',
      hostId: 'host-a',
      epoch: 1,
      exit: { reason: 'panic', message: 'panicked', at: Date.now() },
    } as const;
    const answers = await Promise.all([
      host.tell(id, fact, 'f1'),
      host.tell(id, fact, 'f1'),
      host.tell(id, fact, 'f1'),
    ]);
    expect(answers).toContain(true);
    await reaches(id, 'failed');
    const { entries } = await bus.call(microvmHistoryOf, { id });
    expect(entries.filter(({ to }) => to === 'failed')).toHaveLength(1);
  });

  it('deletes what has outlived its time', async () => {
    const { id } = await create({ ttlSeconds: 2 });
    await reaches(id, 'deleted');
    const { entries } = await bus.call(microvmHistoryOf, { id });
    expect(entries.map(({ cause }) => cause)).toContainEqual({ kind: 'timer', by: 'timeToLive' });
  });

  it('restarts what its policy says', async () => {
    const { id } = await running({ restartPolicy: 'on-failure' });
    await host.tell(id, {
      type: 'exited',
      hostId: 'host-a',
      epoch: 1,
      exit: { reason: 'panic', message: 'panicked', at: Date.now() },
    });
    await plane.reaches(id, ({ state, epoch }) => state === 'running' && epoch === 2);
    expect(view.microvm(id)).toMatchObject({ restarts: 1 });
  });
});
