import type { NatsConnection } from 'nats';
import { connectNats } from '#bus';
import { Journal } from '#journal';
import { auditOf } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { AuditLog } from './audit-log';
import { AuditReader } from './audit-reader';

const CALL = { event: 'call', tokenId: 't', name: 'ci', role: 'tenant-user', tenant: 'acme' } as const;

describeWithNats('the audit', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let reader: AuditReader;
  let log: AuditLog;
  const dropped: [number, string][] = [];

  beforeEach(async () => {
    dropped.length = 0;
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'audit' });
    reader = await AuditReader.open(nc);
    log = await AuditLog.open(nc, {
      service: 'test',
      most: 50,
      onDropped: (count, reason) => dropped.push([count, reason]),
    });
  });
  afterEach(async () => {
    await log.close();
    await nc.close();
    await server.stop();
  });

  it('is read back in order, page by page, each tenant for itself', async () => {
    for (let i = 0; i < 7; i++) log.record({ ...CALL, status: 200 + i, ids: { id: `vm${i}` } });
    log.record({ event: 'refusedAuthentication', status: 401, detail: 'unknown token' });
    log.record({ ...CALL, tenant: 'other', status: 204 });
    await log.close();

    const all = await reader.read({ from: 0, limit: 100 });
    expect(all.next).toBeNull();
    expect(all.items).toHaveLength(9);
    const told: (number | undefined)[] = [];
    let cursor: string | undefined;
    for (;;) {
      const page = await reader.read({ tenant: 'acme', from: 0, limit: 3, cursor });
      expect(page.items.length).toBeLessThanOrEqual(3);
      told.push(...page.items.map(({ status }) => status));
      if (page.next === null) break;
      cursor = page.next;
    }
    expect(told).toEqual([200, 201, 202, 203, 204, 205, 206]);
    const fleet = await reader.read({ tenant: null, from: 0, limit: 10 });
    expect(fleet.items).toMatchObject([{ event: 'refusedAuthentication', service: 'test', tokenId: null }]);
    expect((await reader.read({ from: 0, limit: 10, about: 'vm3' })).items).toMatchObject([{ status: 203 }]);
    expect((await reader.read({ from: 0, limit: 10, status: 400 })).items).toMatchObject([{ status: 401 }]);
    expect((await reader.read({ from: 0, to: 1, limit: 10 })).items).toEqual([]);
    expect((await reader.read({ from: Date.now() + 60_000, limit: 10 })).items).toEqual([]);
    expect(dropped).toEqual([]);
  });

  it('writes later what it could not write at once, and counts what found no room', async () => {
    await server.kill9();
    for (let i = 0; i < 60; i++) log.record({ ...CALL, status: i });
    expect(log.waiting).toBe(50);
    await server.restart();
    await log.close(10_000);
    const { items } = await reader.read({ from: 0, limit: 100 });
    expect(items.map(({ status }) => status)).toEqual([...Array(50).keys()]);
    expect(dropped.reduce((sum, [count]) => sum + count, 0)).toBe(10);
  });

  it('writes what comes in just when it has written everything', async () => {
    const append = Journal.prototype.append;
    try {
      for (let turns = 0; turns < 12; turns++) {
        Journal.prototype.append = async function (this: Journal<unknown>, ...args) {
          Journal.prototype.append = append;
          const appended = await append.apply(this, args);
          void (async () => {
            for (let turn = 0; turn < turns; turn++) await Promise.resolve();
            log.record({ ...CALL, status: turns });
          })();
          return appended;
        };
        const seen = new Promise<void>((resolve) => {
          nc.subscribe(auditOf(CALL.tenant), {
            callback: (_, msg) => {
              if (msg.string().includes(`"status":${turns}`)) resolve();
            },
          });
        });
        log.record(CALL);
        await seen;
      }
    } finally {
      Journal.prototype.append = append;
    }
  });

  it('says what it had to give up at its end', async () => {
    await server.kill9();
    for (let i = 0; i < 5; i++) log.record(CALL);
    await log.close(100);
    expect(dropped).toEqual([[5, 'the process ended before they were written']]);
    log.record(CALL);
    expect(log.waiting).toBe(0);
    await server.restart();
  });
});
