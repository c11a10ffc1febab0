import pino from 'pino';
import { decideEvents, decideHostEvents, type HostLife, type MicrovmLife } from '#lifecycle';
import { MicrovmSpec, type HostEvent, type MicrovmEvent } from '#protocol';
import { readyHost } from '../../../../test/support/known-hosts';
import type { HostHistories } from '../histories/host-histories';
import type { MicrovmHistories } from '../histories/microvm-histories';
import type { Partitions } from '../partitions/partitions';
import { DrainRunner } from './drain-runner';
import type { PlacesElsewhere } from './places-elsewhere';

const HOST = 'host-a';
const CAUSE = { kind: 'operator', by: 'test' } as const;

/** It stays with its host, so a drain waits for its end. */
function kept(): MicrovmLife {
  const id = '01hzzzzzzzzzzzzzzzzzzzzzz1';
  const spec = MicrovmSpec.parse({ image: 'canary', onHostLoss: 'keep' });
  const timings = { receivedAt: 0, admittedAt: 0, launchedAt: 0, vmmEnteredAt: 0, guestRunAt: 0, guestBootedAt: 0 };
  const events: MicrovmEvent[] = [
    { type: 'requested', spec, requestedAt: 0, specHash: 'x' },
    { type: 'placementStarted' },
    { type: 'placed', hostId: HOST, epoch: 1, receiptId: 'r', decidedAt: 0 },
    { type: 'started', hostId: HOST, epoch: 1, pid: 1, timings },
  ];
  const decision = decideEvents(null, events, { microvmId: id, commandId: 'c', cause: CAUSE, at: 1 });
  if (decision.kind !== 'record') throw new Error(`it is ${decision.kind}`);
  return { ...decision.advance.life, id, revision: 1 };
}

describe('a drain', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('is not held up when the clock is put back', async () => {
    let host: HostLife = readyHost(HOST, {}, Date.now());
    const recorded: string[] = [];
    const record = (hostId: string, who: { commandId: string }, events: HostEvent[]): Promise<void> => {
      const decision = decideHostEvents(host, events, { hostId, cause: CAUSE, ...who, at: Date.now() });
      if (decision.kind !== 'record') throw new Error(`it is ${decision.kind}`);
      host = { ...decision.advance.life, id: hostId, revision: host.revision + 1 };
      recorded.push(...events.map(({ type }) => type));
      return Promise.resolve();
    };
    await record(HOST, { commandId: 'd' }, [{ type: 'drainRequested', parallel: 1, graceMs: 0, kept: 'wait' }]);
    const runner = new DrainRunner(
      { listen: () => undefined, all: () => [host], get: () => host, record } as unknown as HostHistories,
      { listen: () => undefined, index: { values: () => [kept()] } } as unknown as MicrovmHistories,
      { owns: () => true, onChange: () => undefined } as unknown as Partitions,
      {} as PlacesElsewhere,
      pino({ level: 'silent' }),
    );
    runner.onApplicationBootstrap();
    jest.setSystemTime(Date.now() - 3_600_000);
    await jest.advanceTimersByTimeAsync(2_000);
    runner.onModuleDestroy();
    expect(recorded).toEqual(['drainRequested', 'drainProgressed']);
  });
});
