import { getGroup, OperationError, type GroupEvent } from '#protocol';
import { describeWithNats } from '../../../../test/support/nats-server';
import { type Answer, type GatewayUnderTest, type RequestOptions } from '../testing/gateway-under-test';
import { HOST_ID, type ScriptedController } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

const SPEC = { image: 'canary', memoryMiB: 32 };
const ID = '01hzzzzzzzzzzzzzzzzzzzzzzz';

describeWithNats('groups over REST', () => {
  let plane: ScriptedPlane;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;
  const tokens: Record<string, string> = {};

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway, controller } = plane);
    for (const tenant of ['acme', 'rival']) {
      await ask('PUT', `/v1/tenants/${tenant}`, {});
      const body = { name: `${tenant}-user`, role: 'tenant-user', tenant };
      tokens[tenant] = (await ask('POST', '/v1/tokens', body)).json.secret;
    }
    const body = { name: 'acme-reader', role: 'read-only', tenant: 'acme' };
    tokens['reader'] = (await ask('POST', '/v1/tokens', body)).json.secret;
  });
  afterAll(() => plane?.close());
  afterEach(() => controller.instead.clear());

  const ask = (method: string, path: string, body?: unknown, who?: string, headers = {}): Promise<Answer> =>
    gateway.request(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      ...(who === undefined ? {} : { token: tokens[who]! }),
    } as RequestOptions);

  it('lead through a life', async () => {
    const wanted = { name: 'web', replicas: 3, spec: SPEC };
    const created = await ask('POST', '/v1/groups', wanted);
    expect([created.status, created.headers.get('location')]).toEqual([201, '/v1/groups/default_web']);
    expect(created.json).toMatchObject({ id: 'default_web', state: 'active', maxSurge: 1, rollout: { state: 'done' } });
    expect((await ask('POST', '/v1/groups', wanted)).status).toBe(200);
    expect((await ask('POST', '/v1/groups/default_web/scale', { replicas: 5 })).json.replicas).toBe(5);
    const replaced = await ask('PUT', '/v1/groups/default_web/spec', {
      spec: { ...SPEC, vcpus: 2 },
      maxUnavailable: 1,
    });
    expect(replaced.json).toMatchObject({ specRevision: 2, maxUnavailable: 1, rollout: { state: 'rolling' } });
    expect((await ask('GET', '/v1/groups')).json.items.map(({ id }: { id: string }) => id)).toEqual(['default_web']);
    const { entries } = (await ask('GET', '/v1/groups/default_web/history')).json;
    expect(entries.map(({ events }: { events: GroupEvent[] }) => events[0]!.type)).toEqual([
      'created',
      'scaled',
      'specReplaced',
    ]);
    expect((await ask('DELETE', '/v1/groups/default_web')).json.state).toBe('deleting');
    expect((await ask('POST', '/v1/groups/default_web/scale', { replicas: 1 })).status).toBe(409);
  });

  it('name the command after the key, and who asks', async () => {
    await ask('POST', '/v1/groups', { name: 'keyed', replicas: 0, spec: SPEC }, undefined, { 'idempotency-key': 'k1' });
    expect(controller.requests.at(-1)!.request).toMatchObject({ commandId: 'k1', by: 'operator' });
  });

  it.each<[string, string, string, unknown, number]>([
    ['an unknown field', 'POST', '/v1/groups', { name: 'x', replicas: 1, spec: SPEC, colour: 'red' }, 422],
    ['too many', 'POST', '/v1/groups', { name: 'x', replicas: 1_001, spec: SPEC }, 422],
    ['a name with a separator', 'POST', '/v1/groups', { name: 'a_b', replicas: 1, spec: SPEC }, 422],
    [
      'a schedule',
      'POST',
      '/v1/groups',
      { name: 'x', replicas: 1, spec: { ...SPEC, schedule: { stop: '0 0 * * *' } } },
      422,
    ],
    ['what never was', 'GET', '/v1/groups/default_nobody', undefined, 404],
    ['what is no id', 'GET', '/v1/groups/nobody', undefined, 404],
  ])('refuse %s', async (_, method, path, body, status) => {
    expect((await ask(method, path, body)).status).toBe(status);
  });

  describe('of tenants', () => {
    beforeAll(async () => {
      await ask('POST', '/v1/groups', { name: 'ours', replicas: 1, spec: SPEC }, 'acme');
      await ask('POST', '/v1/groups', { name: 'theirs', replicas: 1, spec: SPEC }, 'rival');
    });

    it('are made by who asks, and seen by them only', async () => {
      const ids = async (who: string): Promise<string[]> =>
        (await ask('GET', '/v1/groups', undefined, who)).json.items.map(({ id }: { id: string }) => id);
      expect([await ids('acme'), await ids('rival')]).toEqual([['acme_ours'], ['rival_theirs']]);
      const foreign = { name: 'x', replicas: 1, spec: { ...SPEC, tenant: 'rival' } };
      expect((await ask('POST', '/v1/groups', foreign, 'acme')).status).toBe(403);
      expect((await ask('GET', '/v1/groups?tenant=rival', undefined, 'acme')).status).toBe(403);
      expect((await ask('POST', '/v1/groups/acme_ours/scale', { replicas: 2 }, 'reader')).status).toBe(403);
    });

    it.each<[string, string, unknown]>([
      ['GET', '', undefined],
      ['GET', '/history', undefined],
      ['POST', '/scale', { replicas: 0 }],
      ['PUT', '/spec', { spec: SPEC }],
      ['DELETE', '', undefined],
    ])("answer %s %s of another's as of what is not there", async (method, below, body) => {
      const answers = await Promise.all(
        ['rival_theirs', 'rival_nobody', 'acme_nobody'].map(async (id) => {
          const { status, text } = await ask(method, `/v1/groups/${id}${below}`, body, 'acme');
          return { status, text: text.replaceAll(id, 'ID') };
        }),
      );
      expect(answers[0]!.status).toBe(404);
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect((await ask('GET', '/v1/groups/rival_theirs', undefined, 'rival')).json).toMatchObject({
        replicas: 1,
        state: 'active',
      });
    });

    it('say no word of hosts', async () => {
      await controller.groups.happens(
        'acme_ours',
        [
          { type: 'memberAdded', microvmId: ID, specRevision: 1, specHash: 'x', reason: '0 of 1 are there' },
          { type: 'memberWaits', microvmId: ID, reason: `cannot create it yet: ${HOST_ID} is full` },
        ],
        'acme-user',
      );
      const seen = (await ask('GET', '/v1/groups/acme_ours')).json;
      expect(seen.members[0].reason).toContain(HOST_ID);
      const failed = {
        type: 'memberRetired' as const,
        failed: true,
        ranMs: 1,
        reason: `it is failed: ${HOST_ID} died`,
      };
      await controller.groups.happens('acme_ours', [{ ...failed, microvmId: ID }], 'acme-user');
      for (const below of ['', '/history']) {
        const told = await ask('GET', `/v1/groups/acme_ours${below}`, undefined, 'acme');
        expect(told.status).toBe(200);
        expect(told.text).not.toContain(HOST_ID);
        expect(told.text).toContain(ID);
      }
      expect((await ask('GET', '/v1/groups/acme_ours/history')).text).toContain(HOST_ID);
    });

    it('pass on what the controller says otherwise', async () => {
      controller.instead.set(getGroup.subject, () => {
        throw new OperationError('unavailable', 'not now');
      });
      expect((await ask('GET', '/v1/groups/acme_ours', undefined, 'acme')).status).toBe(503);
    });
  });
});
