import type { AuditEntry, Tenant, Token } from '#protocol';
import { ExitCode } from '../exit-code';
import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';
import { changed } from './bounds';

const TENANT: Tenant = {
  id: 'acme',
  quotas: { microvms: 5, vcpus: 8 },
  coresidency: { mode: 'dedicated', neverWith: ['rival'] },
  requestsPerSecond: 9,
  createdAt: 1,
  updatedAt: 1,
};
const TOKEN: Token = {
  id: '01hzzzzzzzzzzzzzzzzzzzzzzz',
  name: 'ci',
  role: 'tenant-user',
  tenant: 'acme',
  createdAt: 1,
  expiresAt: null,
  revokedAt: null,
};

describe('bounds of a tenant', () => {
  it('stay as they are but for what is said', () => {
    expect(changed(TENANT, { maxVcpus: 9 })).toEqual({
      quotas: { microvms: 5, vcpus: 9 },
      coresidency: TENANT.coresidency,
      requestsPerSecond: 9,
    });
    expect(changed(TENANT, { maxMicrovms: null, requestsPerSecond: null, shared: true, neverWith: [] })).toEqual({
      quotas: { vcpus: 8 },
      coresidency: { mode: 'shared', neverWith: [] },
    });
    expect(changed(undefined, { maxMemory: 0, dedicated: true })).toEqual({
      quotas: { memoryMiB: 0 },
      coresidency: { mode: 'dedicated', neverWith: [] },
    });
  });
});

describe('volley tenant, token and audit', () => {
  let api: ScriptedApi;
  let written: string;
  let restore: () => void;
  beforeEach(async () => {
    written = '';
    const write = process.stdout.write.bind(process.stdout);
    const error = process.stderr.write.bind(process.stderr);
    process.stdout.write = (text) => ((written += String(text)), true);
    process.stderr.write = () => true;
    restore = () => Object.assign(process.stdout, { write }) && Object.assign(process.stderr, { write: error });
    api = await scriptedApi(({ method, path, query }, response) => {
      if (path === '/v1/tenants/new' && method === 'GET') return json(response, 404, { detail: 'not there' });
      if (path.startsWith('/v1/tenants/')) return json(response, 200, TENANT);
      if (path === '/v1/tenants') return json(response, 200, { items: [TENANT] });
      if (path === '/v1/tokens' && method === 'GET') return json(response, 200, { items: [TOKEN] });
      if (path === '/v1/tokens/forbidden') return json(response, 403, { detail: 'not for you' });
      if (path.startsWith('/v1/tokens')) return json(response, 201, { token: TOKEN, secret: 'vly_secret' });
      const next = query.get('cursor') === null ? '7.0' : null;
      return json(response, 200, { items: [entry(next === null ? 'later' : 'curious')], nextCursor: next });
    });
  });
  afterEach(async () => {
    restore();
    await api.close();
  });

  const volley = (...words: string[]) => runVolley('--url', api.url, ...words);

  it('changes only the bounds that are named, and makes a tenant that is new', async () => {
    await volley('tenant', 'set', 'acme', '--max-memory', '2G', '--max-vcpus', 'none');
    expect(api.seen.at(-1)).toMatchObject({
      method: 'PUT',
      path: '/v1/tenants/acme',
      body: {
        quotas: { microvms: 5, memoryMiB: 2048 },
        coresidency: { mode: 'dedicated', neverWith: ['rival'] },
        requestsPerSecond: 9,
      },
    });
    await volley('tenant', 'set', 'new', '--creates-per-second', '0.5', '--never-with', 'a,b');
    expect(api.seen.at(-1)).toMatchObject({
      method: 'PUT',
      body: { quotas: { createsPerSecond: 0.5 }, coresidency: { mode: 'shared', neverWith: ['a', 'b'] } },
    });
    await volley('tenant', 'list');
    expect(written).toMatch(/^TENANT +MICROVMS .*\nacme +5 +8 /m);
  });

  it('prints the secret alone, so that it can go into a file', async () => {
    await volley('token', 'create', 'ci', '--role', 'tenant-user', '--tenant', 'acme', '--expires', '30d');
    expect(api.seen.at(-1)!.body).toEqual({ name: 'ci', role: 'tenant-user', tenant: 'acme', ttlSeconds: 2_592_000 });
    expect(written).toBe('vly_secret\n');
    await volley('token', 'rotate', TOKEN.id, '--grace', '1h');
    expect(api.seen.at(-1)).toMatchObject({ path: `/v1/tokens/${TOKEN.id}/rotate`, body: { graceSeconds: 3600 } });
    await volley('token', 'list');
    expect(written).toMatch(/ci +tenant-user +acme +good +never/);
    await expect(volley('token', 'revoke', 'forbidden')).rejects.toMatchObject({ exitCode: ExitCode.refused });
  });

  it('lists the audit page after page', async () => {
    await volley('audit', 'list', '--since', '7d', '--status', '400');
    const [first, second] = api.seen.slice(-2);
    expect(Number(first!.query.get('from'))).toBeLessThanOrEqual(Date.now() - 7 * 86_400_000);
    expect([first!.query.get('status'), second!.query.get('cursor')]).toEqual(['400', '7.0']);
    expect(written).toMatch(/curious +acme +POST \/v1\/hosts\/\{id\}\/cordon +403 .*id=host-a forbidden/);
    expect(written).toContain('later');
  });
});

function entry(name: string): AuditEntry {
  return {
    at: 1,
    service: 'gateway',
    event: 'call',
    tokenId: TOKEN.id,
    name,
    role: 'tenant-user',
    tenant: 'acme',
    method: 'POST',
    route: '/v1/hosts/{id}/cordon',
    ids: { id: 'host-a' },
    status: 403,
    code: 'forbidden',
    ms: 1,
  };
}
