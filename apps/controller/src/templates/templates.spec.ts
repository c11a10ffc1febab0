import { applyMicrovmEvents, type MicrovmLife } from '#lifecycle';
import { MicrovmSpec, placesOfTemplate, type MicrovmEvent, type TemplateRecord } from '#protocol';
import { pinTemplate } from './pin-template';
import {
  heardFrom,
  isUnwanted,
  lostFromStore,
  poolsExcess,
  poolsOn,
  settledBy,
  storedBy,
  templatesExcess,
} from './template-rules';

const T0 = 1_700_000_000_000;
const ID = '01hzzzzzzzzzzzzzzzzzzzzzz0';
const HERE = { hostId: 'host-a', epoch: 1 };
const DIGEST = `sha256:${'a'.repeat(64)}`;
const TAKEN: MicrovmEvent = {
  type: 'snapshotTaken',
  ...HERE,
  ...{ templateId: ID, digest: DIGEST, bytes: 7, pauseMs: 3, platform: { kvm: 'software' }, as: 'running' },
};

function record(change: Partial<TemplateRecord> = {}): TemplateRecord {
  const spec = MicrovmSpec.parse({ image: 'canary', memoryMiB: 32, vsock: true });
  return {
    ...{ id: ID, name: 'warm', tenant: 'default', state: 'creating', reason: null },
    source: { microvmId: '01hzzzzzzzzzzzzzzzzzzzzzzz', ...HERE },
    ...{ image: 'canary', vcpus: 1, memoryMiB: 32 },
    devices: { network: false, vsock: true, balloon: false, rng: false, disks: 0 },
    ...{ platform: null, digest: null, bytes: null, pauseMs: null, hosts: ['host-a'], pool: null },
    ...{ unusedDisks: [], stored: false, storeProblem: null },
    ...{ createdAt: T0, updatedAt: T0, spec },
    ...change,
  };
}

function source(...events: MicrovmEvent[]): MicrovmLife {
  const timings = {
    receivedAt: T0,
    admittedAt: T0,
    launchedAt: T0,
    vmmEnteredAt: T0,
    guestRunAt: T0,
    guestBootedAt: T0,
  };
  const all: MicrovmEvent[] = [
    { type: 'requested', spec: record().spec, requestedAt: T0, specHash: 'hash' },
    { type: 'placementStarted' },
    { type: 'placed', ...HERE, receiptId: 'r', decidedAt: T0 },
    { type: 'started', ...HERE, pid: 1, timings },
    { type: 'snapshotRequested', templateId: ID, afterwards: 'resume' },
    ...events,
  ];
  return { ...applyMicrovmEvents(null, all, T0).life, id: record().source.microvmId, revision: 1 };
}

describe('the pools of a host', () => {
  it('are those of the templates that it has, and none while nothing new is placed on it', () => {
    const pool = { min: 1, max: 4, quietSeconds: 60 };
    const ready = [record({ state: 'ready', digest: DIGEST, pool }), record({ state: 'ready', digest: DIGEST })];
    expect(poolsOn('ready', ready)).toEqual([{ templateId: ID, reference: `${ID}@${DIGEST}`, policy: pool }]);
    for (const state of ['cordoned', 'draining', undefined] as const) expect(poolsOn(state, ready)).toEqual([]);
  });
});

describe('a template that is being made', () => {
  it('is ready when the history of its source says so, and waits while its host may still say it', () => {
    expect(settledBy(record(), source(TAKEN), T0)).toMatchObject({
      state: 'ready',
      digest: DIGEST,
      bytes: 7,
      pauseMs: 3,
    });
    expect(settledBy(record(), source(), T0 + 3_600_000)).toBeUndefined();
    expect(settledBy(record(), source({ type: 'hostLost', hostId: 'host-a' }), T0)).toBeUndefined();
  });

  it('has failed, with the reason, when its source ended, could not, or never heard of it', () => {
    const failed = { type: 'commandFailed' as const, ...HERE, command: 'snapshot' as const, reason: 'disk full' };
    expect(settledBy(record(), source(failed), T0)).toMatchObject({ state: 'failed', reason: 'disk full' });
    const ended = { type: 'exited' as const, ...HERE, exit: { reason: 'panic' as const, message: 'x', at: T0 } };
    expect(settledBy(record(), source(ended), T0)?.reason).toBe('its source was failed before its snapshot was taken');
    const other = source({ ...TAKEN }, { type: 'snapshotRequested', templateId: 'other', afterwards: 'end' });
    expect(settledBy(record(), other, T0)).toBeUndefined();
    expect(settledBy(record(), other, T0 + 60_000)).toMatchObject({ state: 'failed' });
    expect(settledBy(record({ state: 'ready' }), other, T0 + 60_000)).toBeUndefined();
  });
});

describe('what a host says of a template', () => {
  const word = (of: TemplateRecord, hostId: string, holds: boolean, later = 60_000) =>
    heardFrom(of, { hostId, holds, now: T0 + later });
  const ready = record({ state: 'ready' });

  it('adds and removes it from those who hold it; with the last one the template is lost', () => {
    expect(word(ready, 'host-b', true)?.hosts).toEqual(['host-a', 'host-b']);
    expect(word(ready, 'host-a', true)).toBe(ready);
    const two = record({ state: 'ready', hosts: ['host-a', 'host-b'] });
    expect(word(two, 'host-a', false)).toMatchObject({ state: 'ready', hosts: ['host-b'] });
    expect(word(ready, 'host-a', false)).toMatchObject({
      state: 'failed',
      hosts: [],
      reason: 'no host holds it any more',
    });
  });

  it('counts for nothing when it may be older than what is on record', () => {
    expect(word(ready, 'host-a', false, 1_000)).toBe(ready);
    const creating = record();
    expect(word(creating, 'host-a', false)).toBe(creating);
  });

  it('ends a deleted one when nobody holds it any more', () => {
    const deleted = record({ state: 'deleted', hosts: ['host-a', 'host-b'] });
    expect(isUnwanted(deleted)).toBe(true);
    const one = word(deleted, 'host-a', false, 0)!;
    expect(one.hosts).toEqual(['host-b']);
    expect(word(one, 'host-b', false, 0)).toBeUndefined();
    expect(word(deleted, 'host-c', true)).toBe(deleted);
  });
});

describe('a template in the object store', () => {
  const ready = record({ state: 'ready', bytes: 7 });
  const told = (of: TemplateRecord, hostId: string, problem: string | null) =>
    storedBy(of, hostId, { problem }, T0 + 1);

  it('is there when a host that holds it says so, and is not lost with its last host then', () => {
    expect(told(ready, 'host-a', 'no room')).toMatchObject({ stored: false, storeProblem: 'no room' });
    expect(told(ready, 'host-b', null)).toBe(ready);
    const deleted = record({ state: 'deleted' });
    expect(told(deleted, 'host-a', null)).toBe(deleted);
    const stored = told(told(ready, 'host-a', 'no room'), 'host-a', null);
    expect(stored).toMatchObject({ stored: true, storeProblem: null });
    expect(told(stored, 'host-a', 'late')).toBe(stored);
    const gone = heardFrom(stored, { hostId: 'host-a', holds: false, now: T0 + 60_000 });
    expect(gone).toMatchObject({ state: 'ready', hosts: [] });
  });

  it('is published again by who holds it when it was lost there; nobody else is believed', () => {
    const stored = record({ state: 'ready', stored: true });
    const lost = lostFromStore(stored, T0 + 1);
    expect(lost).toMatchObject({ state: 'ready', stored: false, storeProblem: 'the object store has lost it' });
    expect(storedBy(lost, 'host-a', { problem: null }, T0 + 2)).toMatchObject({ stored: true, storeProblem: null });
    expect(lostFromStore(lost, T0 + 2)).toBe(lost);
    const nowhere = record({ state: 'ready', stored: true, hosts: [] });
    expect(lostFromStore(nowhere, T0 + 1)).toBe(nowhere);
  });

  it('is fetched by any host like its own; guests of ours do not see the processor', () => {
    const cpu = { vendor: 'AuthenticAMD', family: 25, model: 1, stepping: 1, features: 'aaaa' };
    const platform = { format: 1, kvm: 'software' as const, cpu };
    expect(placesOfTemplate({ ...ready, platform })).toEqual({
      id: ID,
      hosts: ['host-a'],
      platform: { format: 1, kvm: 'software' },
    });
    const linux = placesOfTemplate({ ...ready, stored: true, platform, image: `debian@${DIGEST}` });
    expect(linux).toMatchObject({ fetchBytes: 7, platform });
    expect(placesOfTemplate(record({ state: 'failed' }))).toEqual({ id: ID, hosts: [] });
  });
});

describe('the quotas of templates', () => {
  const MIB = 2 ** 20;
  const held = [
    record({ state: 'ready', bytes: 10 * MIB }),
    record({ id: '01hzzzzzzzzzzzzzzzzzzzzzz1' }),
    record({ id: '01hzzzzzzzzzzzzzzzzzzzzzz2', state: 'failed', bytes: 500 * MIB }),
  ];

  it('count those that are made or ready, and bytes; one that is being made with its memory', () => {
    expect(templatesExcess({}, held)).toEqual([]);
    expect(templatesExcess({ templates: 2, templateMiB: 42 }, held)).toEqual([]);
    expect(templatesExcess({ templates: 1, templateMiB: 41 }, held)).toEqual([
      { path: 'quotas.templates', message: '2 with this one, 1 are allowed' },
      { path: 'quotas.templateMiB', message: '42 with this one, 41 are allowed' },
    ]);
  });

  it('bound the pools of all templates together, and let each be made smaller', () => {
    const pool = { min: 0, max: 6, quietSeconds: 300 };
    const pooled = [
      record({ state: 'ready', pool }),
      record({ id: '01hzzzzzzzzzzzzzzzzzzzzzz1', state: 'ready', pool }),
    ];
    const asked = (max: number) => poolsExcess({ poolMicrovms: 10 }, pooled, { id: ID, max });
    expect(asked(4)).toEqual([]);
    expect(asked(5)).toMatchObject([{ path: 'quotas.poolMicrovms' }]);
    expect(poolsExcess({ poolMicrovms: 1 }, pooled, { id: ID, max: 0 })).toEqual([]);
    expect(poolsExcess({}, pooled, { id: ID, max: 1_000 })).toEqual([]);
  });
});

describe('the spec of a clone', () => {
  const others = [
    record({ id: '01hzzzzzzzzzzzzzzzzzzzzzz1', state: 'ready', digest: DIGEST, createdAt: T0 }),
    record({ state: 'ready', digest: DIGEST, createdAt: T0 + 1 }),
    record({ id: '01hzzzzzzzzzzzzzzzzzzzzzz2', state: 'failed', reason: 'lost', createdAt: T0 + 2 }),
    record({ id: '01hzzzzzzzzzzzzzzzzzzzzzz3', state: 'ready', digest: DIGEST, tenant: 'rival', createdAt: T0 + 3 }),
  ];
  const templates = { find: (id: string) => Promise.resolve(others.find((one) => one.id === id)), list: () => others };
  const pin = (spec: object) => pinTemplate(MicrovmSpec.parse(spec), templates);

  it('has the image, size and devices of the template, and the rest of what was asked for', async () => {
    const spec = await pin({ template: 'warm', name: 'mine', labels: { a: 'b' } });
    expect(spec).toMatchObject({ image: 'canary', memoryMiB: 32, vsock: true, name: 'mine', labels: { a: 'b' } });
    expect(spec.template).toBe(`${ID}@${DIGEST}`);
  });

  it('can be woken by vsock where its template has such a device', async () => {
    expect(await pin({ template: 'warm', wakeOn: ['vsock'] })).toMatchObject({ vsock: true, wakeOn: ['vsock'] });
    const without = record({ state: 'ready', digest: DIGEST, spec: MicrovmSpec.parse({ image: 'canary' }) });
    const own = { find: () => Promise.resolve(without), list: () => [without] };
    const pinned = pinTemplate(MicrovmSpec.parse({ template: ID, wakeOn: ['vsock'] }), own);
    await expect(pinned).rejects.toThrow('wakeOn: vsock needs a vsock device, which the template does not have');
  });

  it('has a fresh disk in the place of one that is not used, and the others as they are in the template', async () => {
    const source = MicrovmSpec.parse({
      ...{ image: 'canary', template: 'older', memoryMiB: 32 },
      disks: [{ sizeMiB: 8 }, { sizeMiB: 16, fresh: 'ext4' }],
    });
    const made = record({ state: 'ready', digest: DIGEST, unusedDisks: [1], spec: source });
    const own = { find: () => Promise.resolve(made), list: () => [made] };
    const disksOf = async (disks?: object[]) =>
      (await pinTemplate(MicrovmSpec.parse({ template: ID, ...(disks ? { disks } : {}) }), own)).disks;
    expect(await disksOf()).toEqual([{ sizeMiB: 8 }, { sizeMiB: 16 }]);
    const fresh = { sizeMiB: 4, fresh: 'empty' };
    expect(await disksOf([{ sizeMiB: 8 }, fresh])).toEqual([{ sizeMiB: 8 }, fresh]);
    const limit = { bytesPerSecond: 1_048_576 };
    expect(await disksOf([{ sizeMiB: 8, limit }, { sizeMiB: 16 }])).toEqual([{ sizeMiB: 8, limit }, { sizeMiB: 16 }]);
    for (const [disks, message] of [
      [[fresh], 'disks: the template has 2'],
      [[fresh, { sizeMiB: 16 }], 'disks.0.fresh: the guest of the template uses this disk'],
      [[{ sizeMiB: 9 }, fresh], 'disks.0: is one of 8 MiB in the template'],
      [[{ sizeMiB: 8 }, { ...fresh, mount: '/data' }], 'disks.1.mount: '],
    ] as const) {
      await expect(disksOf([...disks])).rejects.toThrow(message);
    }
    expect(() => MicrovmSpec.parse({ image: 'canary', disks: [fresh] })).toThrow(/is for clones/);
  });

  it.each([
    [{ template: 'cold' }, 'template: there is no template "cold"'],
    [{ template: '01hzzzzzzzzzzzzzzzzzzzzzz3' }, 'template: there is no template "01hzzzzzzzzzzzzzzzzzzzzzz3"'],
    [{ template: '01hzzzzzzzzzzzzzzzzzzzzzz2' }, 'template: template 01hzzzzzzzzzzzzzzzzzzzzzz2 is failed: lost'],
    [{ template: `warm@sha256:${'b'.repeat(64)}` }, `template: template warm has the digest ${DIGEST}`],
    [{ template: 'warm', image: 'canary' }, "image: is the template's; leave it out"],
    [{ template: 'warm', memoryMiB: 64 }, 'memoryMiB: is 32 in the template, and a clone has the same; leave it out'],
    [{ template: 'warm', env: { A: 'b' } }, "env: is the template's, whose memory holds it; leave it out"],
    [
      { template: 'warm', network: {} },
      'network: a clone has a network device where its template has one, and else none',
    ],
  ])('is refused: %j', async (spec, message) => {
    await expect(pin(spec)).rejects.toMatchObject({ code: 'invalid', message });
  });
});
