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
