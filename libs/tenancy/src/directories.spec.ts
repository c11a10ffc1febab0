import { createHash } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { connectNats } from '#bus';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { AliasKey } from './alias-key';
import { TenantDirectory } from './tenant-directory';
import { refusalOf, TokenDirectory, type TokenWish } from './token-directory';

const SHARED = { mode: 'shared' as const, neverWith: [] };
const WISH: TokenWish = { name: 'ci', role: 'tenant-user', tenant: 'acme', expiresAt: null };

describeWithNats('the directories of tenants and tokens', () => {
  let server: NatsServer;
  let one: NatsConnection;
  let other: NatsConnection;
  const open: { close(): void }[] = [];
  const kept = <T extends { close(): void }>(what: T): T => (open.push(what), what);

  beforeEach(async () => {
    server = await startNatsServer();
    [one, other] = (await Promise.all(['one', 'other'].map((name) => connectNats({ servers: server.url, name })))) as [
      NatsConnection,
      NatsConnection,
    ];
  });
  afterEach(async () => {
    for (const what of open.splice(0)) what.close();
    await Promise.all([one.close(), other.close()]);
    await server.stop();
  });

  const changed = (directory: { onChange(listener: () => void): () => void }, until: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const off = directory.onChange(look);
      function look(): void {
        if (!until()) return;
        off();
        resolve();
      }
      if (until()) look();
    });

  it('tell everybody of a revocation, and keep no secret', async () => {
    const [mine, theirs] = [kept(await TokenDirectory.open(one)), kept(await TokenDirectory.open(other))];
    const { token, secret } = await mine.make(WISH);
    expect(secret).toMatch(/^vly_[\w-]{43}$/);
    expect(mine.find(secret)).toEqual(token);
    await changed(theirs, () => theirs.find(secret) !== undefined);
    await mine.revoke(token.id);
    await changed(theirs, () => refusalOf(theirs.find(secret)!, Date.now()) === 'revoked');
    const subject = `$KV.tokens.${createHash('sha256').update(secret).digest('hex')}`;
    const stored = await one.request('$JS.API.STREAM.MSG.GET.KV_tokens', JSON.stringify({ last_by_subj: subject }), {
      timeout: 20_000,
    });
    const { message } = stored.json<{ message: { data: string } }>();
    const text = Buffer.from(message.data, 'base64').toString();
    expect(text).toContain(token.id);
    expect(text).not.toContain(secret.slice(4));
  });

  it('catch up with what changed while the server was away', async () => {
    const [mine, theirs] = [kept(await TokenDirectory.open(one)), kept(await TokenDirectory.open(other))];
    const { token, secret } = await mine.make(WISH);
    await changed(theirs, () => theirs.find(secret) !== undefined);
    await server.restart();
    // Written as soon as one is back, whether or not the other is.
    await mine.revoke(token.id);
    await changed(theirs, () => refusalOf(theirs.find(secret)!, Date.now()) === 'revoked');
    const { secret: next } = await mine.make(WISH);
    await changed(theirs, () => theirs.find(next) !== undefined);
  });

  it('rotate a token: the old one ends at once, or after a while, and the new one is like it', async () => {
    const tokens = kept(await TokenDirectory.open(one));
    const { token, secret } = await tokens.make(WISH);
    const rotated = (await tokens.rotate(token.id, 0))!;
    expect(refusalOf(tokens.find(secret)!, Date.now())).toBe('revoked');
    expect(rotated.token).toMatchObject(WISH);
    await expect(tokens.rotate(token.id, 0)).rejects.toThrow(/is revoked; make a new one/);
    const again = (await tokens.rotate(rotated.token.id, 60_000))!;
    const old = tokens.find(rotated.secret)!;
    expect(refusalOf(old, Date.now())).toBeUndefined();
    expect(refusalOf(old, Date.now() + 61_000)).toBe('expired');
    expect(refusalOf(tokens.find(again.secret)!, Date.now() + 61_000)).toBeUndefined();
    expect(await tokens.rotate('nobody', 0)).toBeUndefined();
  });

  it('keep the changes of two who write at once', async () => {
    const [mine, theirs] = [kept(await TenantDirectory.open(one)), kept(await TenantDirectory.open(other))];
    const made = await mine.put('acme', { quotas: { microvms: 1 }, coresidency: SHARED });
    await Promise.all([
      mine.put('acme', { quotas: { microvms: 2 }, coresidency: SHARED }),
      theirs.put('acme', { quotas: { microvms: 3 }, coresidency: SHARED }),
      theirs.put('other', { quotas: {}, coresidency: SHARED }),
    ]);
    await changed(mine, () => mine.get('other') !== undefined);
    // Whoever hears of it last.
    const agree = (): boolean => theirs.get('acme')?.updatedAt === mine.get('acme')?.updatedAt;
    await Promise.race([changed(mine, agree), changed(theirs, agree)]);
    expect(mine.list().map(({ id }) => id)).toEqual(['acme', 'other']);
    expect(mine.get('acme')!.createdAt).toBe(made.createdAt);
    expect(await mine.remove('acme')).toBe(true);
    expect(await mine.remove('acme')).toBe(false);
    expect(mine.get('acme')).toBeUndefined();
    await mine.put('acme', { quotas: {}, coresidency: SHARED });
    expect(mine.get('acme')?.quotas).toEqual({});
  });

  it('tell of co-residency both ways', async () => {
    const tenants = kept(await TenantDirectory.open(one));
    await tenants.put('acme', { quotas: {}, coresidency: { mode: 'dedicated', neverWith: ['x'] } });
    await tenants.put('rival', { quotas: {}, coresidency: { mode: 'shared', neverWith: ['acme', 'unheard-of'] } });
    expect(tenants.coresidencyOf('acme')).toEqual({ mode: 'dedicated', neverWith: ['rival', 'x'] });
    expect(tenants.coresidencyOf('unheard-of')).toEqual({ mode: 'shared', neverWith: ['rival'] });
    expect(tenants.coresidencyOf('nobody')).toEqual(SHARED);
  });

  it('skip what is no entry, say so, and let it be put right', async () => {
    const tenants = kept(await TenantDirectory.open(one));
    await tenants.put('acme', { quotas: {}, coresidency: SHARED });
    const told: string[] = [];
    const watching = kept(await TenantDirectory.open(other, (key) => told.push(key)));
    one.publish('$KV.tenants.acme', '{"id":3}');
    await changed(watching, () => watching.get('acme') === undefined);
    expect(told).toEqual(['acme']);
    await tenants.put('acme', { quotas: { vcpus: 1 }, coresidency: SHARED });
    await changed(watching, () => watching.get('acme')?.quotas.vcpus === 1);
  });

  it('name hosts to each tenant in its own way, everywhere and always the same', async () => {
    const [mine, theirs] = await Promise.all([AliasKey.open(one), AliasKey.open(other)]);
    const alias = mine.aliasOf('acme', 'host-a');
    expect(alias).toMatch(/^h-[0-9a-z]{12}$/);
    expect(theirs.aliasOf('acme', 'host-a')).toBe(alias);
    expect(mine.aliasOf('other', 'host-a')).not.toBe(alias);
    expect(mine.aliasOf('acme', 'host-b')).not.toBe(alias);
    expect(AliasKey.of(Buffer.alloc(32)).aliasOf('acme', 'host-a')).not.toBe(alias);
  });
});
