import type { BusClient } from '#bus';
import { MicrovmSpec, type Template } from '#protocol';
import { dryRunClone } from './dry-run-clone';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const ID = '01hzzzzzzzzzzzzzzzzzzzzzz0';
const OTHER = '01hzzzzzzzzzzzzzzzzzzzzzz1';

function template(id: string, change: Partial<Template> = {}): Template {
  return {
    ...{ id, name: 'warm', tenant: 'acme', state: 'ready', reason: null, pool: null },
    source: { microvmId: '01hzzzzzzzzzzzzzzzzzzzzzzz', hostId: 'host-a', epoch: 1 },
    ...{ image: `debian@${DIGEST}`, vcpus: 2, memoryMiB: 512, pauseMs: 3, digest: DIGEST },
    devices: { network: true, vsock: true, balloon: false, rng: false, disks: 0 },
    unusedDisks: [],
    platform: { format: 1, kvm: 'hardware' },
    ...{ bytes: 7, hosts: ['host-a'], stored: true, storeProblem: null, createdAt: 1, updatedAt: 1 },
    ...change,
  };
}

function dryRun(spec: object, items: Template[]) {
  const asked: unknown[] = [];
  const bus = {
    call: (_operation: unknown, request: unknown) => {
      asked.push(request);
      return Promise.resolve({ items });
    },
  };
  const parsed = MicrovmSpec.parse({ tenant: 'acme', ...spec });
  return { outcome: dryRunClone(bus as unknown as BusClient, parsed), asked };
}

describe('the dry run of a clone', () => {
  it('is of the size and image of its template, and knows where that is', async () => {
    const { outcome, asked } = dryRun({ template: 'warm', memoryMiB: 128 }, [template(ID)]);
    expect(await outcome).toEqual({
      spec: expect.objectContaining({
        image: `debian@${DIGEST}`,
        vcpus: 2,
        memoryMiB: 512,
        template: 'warm',
      }) as object,
      template: { id: ID, hosts: ['host-a'], fetchBytes: 7, platform: { format: 1, kvm: 'hardware' } },
    });
    // Those of others are not even asked for.
    expect(asked).toEqual([{ tenant: 'acme' }]);
  });

  it('is of the one with that id, else of the newest that is ready and has that name', async () => {
    const all = [template(ID), template(OTHER), template('01hzzzzzzzzzzzzzzzzzzzzzz2', { state: 'creating' })];
    const chosen = async (asked: string) => (await dryRun({ template: asked }, all).outcome).template?.id;
    expect(await chosen('warm')).toBe(OTHER);
    expect(await chosen(ID)).toBe(ID);
    expect(await chosen(`${ID}@${DIGEST}`)).toBe(ID);
  });

  it('has a network where its template has one, unless it says how', async () => {
    const networkOf = async (spec: object, network: boolean) => {
      const devices = { ...template(ID).devices, network };
      return (await dryRun({ template: ID, ...spec }, [template(ID, { devices })]).outcome).spec.network;
    };
    expect(await networkOf({}, true)).toBeUndefined();
    expect(await networkOf({}, false)).toBe('none');
    expect(await networkOf({ network: { egress: 'open' } }, true)).toMatchObject({ egress: 'open' });
  });

  it('says so when there is no such template, or none that is ready', async () => {
    await expect(dryRun({ template: 'cold' }, [template(ID)]).outcome).rejects.toMatchObject({
      code: 'invalid',
      message: 'there is no template "cold" that is ready',
    });
    const failed = template(ID, { state: 'failed' });
    await expect(dryRun({ template: ID }, [failed]).outcome).rejects.toMatchObject({ code: 'invalid' });
  });

  it('of what is no clone asks nobody', async () => {
    const { outcome, asked } = dryRun({ image: 'canary', memoryMiB: 32 }, []);
    expect(await outcome).toEqual({ spec: expect.objectContaining({ image: 'canary', memoryMiB: 32 }) as object });
    expect(asked).toEqual([]);
  });
});
