import pino from 'pino';
import type { BusClient } from '#bus';
import type { HostLife } from '#lifecycle';
import type { TemplateRecord } from '#protocol';
import { afterEvents, readyHost } from '../../../../test/support/known-hosts';
import type { HostHistories } from '../histories/host-histories';
import type { MicrovmHistories } from '../histories/microvm-histories';
import type { Partitions } from '../partitions/partitions';
import { TemplateKeeper } from './template-keeper';
import type { TemplateRecords } from './template-records';

const ready = (id: string, hosts: string[], change: Partial<TemplateRecord> = {}): TemplateRecord =>
  ({ id, state: 'ready', hosts, stored: false, updatedAt: 0, ...change }) as TemplateRecord;

describe('a host that is retired', () => {
  beforeEach(() => void jest.useFakeTimers({ now: 60_000 }));
  afterEach(() => void jest.useRealTimers());

  const away = afterEvents(readyHost('gone'), { type: 'leaseExpired' });
  const lives = new Map<string, HostLife>([
    ['here', readyHost('here')],
    ['away', { ...away, id: 'away' }],
    ['gone', afterEvents(away, { type: 'retireRequested' })],
  ]);

  async function keptOf(records: TemplateRecord[], owns: (id: string) => boolean = () => true) {
    const held = new Map(records.map((one) => [one.id, one]));
    const store = {
      list: () => [...held.values()],
      update: (id: string, change: (now: TemplateRecord | undefined) => TemplateRecord | undefined) => {
        const after = change(held.get(id));
        if (after) held.set(id, after);
        else held.delete(id);
        return Promise.resolve(after);
      },
    };
    const keeper = new TemplateKeeper(
      store as unknown as TemplateRecords,
      { listen: () => undefined } as unknown as MicrovmHistories,
      { get: (id: string) => lives.get(id) } as unknown as HostHistories,
      {} as BusClient,
      { owns, onChange: () => undefined } as unknown as Partitions,
      pino({ level: 'silent' }),
    );
    await jest.advanceTimersByTimeAsync(6_000);
    keeper.onModuleDestroy();
    return [...held.values()].map(({ id, state, hosts, reason }) => [id, state, hosts, reason]);
  }

  it('holds no template any more; one that nobody else holds is lost, one that was deleted is gone', async () => {
    expect(
      await keptOf([
        ready('two', ['gone', 'here']),
        ready('stored', ['gone'], { stored: true }),
        ready('alone', ['gone']),
        ready('deleted', ['gone'], { state: 'deleted' }),
      ]),
    ).toEqual([
      ['two', 'ready', ['here'], undefined],
      ['stored', 'ready', [], undefined],
      ['alone', 'failed', [], 'no host holds it any more'],
    ]);
  });

  it('is another matter than one that may return', async () => {
    expect(await keptOf([ready('one', ['away', 'here'])])).toEqual([['one', 'ready', ['away', 'here'], undefined]]);
  });

  it('is left to the replica that looks after it', async () => {
    const others = await keptOf([ready('one', ['gone', 'here'])], (id) => id !== 'gone');
    expect(others).toEqual([['one', 'ready', ['gone', 'here'], undefined]]);
  });
});

describe('a host with pools', () => {
  it('is told at once when it is to end or to fill them, by the replica that looks after it', () => {
    const told: string[] = [];
    let changed: (life: HostLife) => void = () => undefined;
    const pool = { min: 1, max: 1, quietSeconds: 60 };
    const keeper = new TemplateKeeper(
      { list: () => [ready('pooled', ['here', 'elsewhere'], { pool }), ready('plain', ['bare'])] } as never,
      { listen: () => undefined } as unknown as MicrovmHistories,
      {
        all: () => ['here', 'bare', 'elsewhere'].map((id) => readyHost(id)),
        listen: (listener: { changed: typeof changed }) => void (changed = listener.changed),
      } as never,
      {
        call: (_: unknown, __: unknown, { values }: { values: { hostId: string } }) => {
          told.push(values.hostId);
          return Promise.reject(new Error('it is away'));
        },
      } as unknown as BusClient,
      { owns: (id: string) => id !== 'elsewhere', onChange: () => undefined } as unknown as Partitions,
      pino({ level: 'silent' }),
    );
    keeper.onApplicationBootstrap();
    try {
      for (const id of ['here', 'bare', 'elsewhere']) {
        const life = readyHost(id);
        changed(life);
        const drained = afterEvents(life, { type: 'drainRequested', parallel: 1, graceMs: 1, kept: 'stop' });
        for (const next of [drained, drained, life, life]) changed(next);
      }
      expect(told).toEqual(['here', 'here']);
    } finally {
      keeper.onModuleDestroy();
    }
  });
});
