import { applyMicrovmEvents, type MicrovmLife } from '#lifecycle';
import { MicrovmSpec, type MicrovmEvent, type TemplateRecord } from '#protocol';
import { pinTemplate } from './pin-template';
import { heardFrom, isUnwanted, settledBy } from './template-rules';

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
    ...{ stored: false, storeProblem: null },
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
