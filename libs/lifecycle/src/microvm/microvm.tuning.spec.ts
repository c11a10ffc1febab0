import type { MicrovmEvent, TuningRecord } from '#protocol';
import { viewMicrovm } from './microvm.fold';
import { EVENTS, HOST, live, liveUntilRunning, T0 } from './microvm.fixtures';
import { decideEvents } from './microvm.decider';
import { withTuning } from './microvm.tuning';
import { occasion } from './microvm.fixtures';

const tuned = (tuning: TuningRecord, epoch = 1): MicrovmEvent => ({ type: 'tuned', hostId: HOST, epoch, tuning });
const balloon = (mib: number): TuningRecord => ({ kind: 'balloon', mib });
const limit = (direction?: 'receive' | 'send'): TuningRecord => ({
  kind: 'limit',
  device: 'network',
  ...(direction ? { direction } : {}),
  limit: { bytesPerSecond: 1 },
});

describe('a change of a running microVM', () => {
  it('given running, when changed, then it goes on running and shows the latest change of each thing', () => {
    const life = live([tuned(balloon(8)), tuned(limit('send')), tuned(balloon(4))], liveUntilRunning());
    expect(viewMicrovm(life)).toMatchObject({ state: 'running', tuned: [limit('send'), balloon(4)] });
  });

  it('is worth a record even when nothing of it lasts', () => {
    const decision = decideEvents(liveUntilRunning(), [tuned({ kind: 'ctrlAltDel' })], occasion(T0 + 9));
    expect(decision).toMatchObject({ kind: 'record', record: { from: 'running', to: 'running' } });
  });

  it('ends with its incarnation', () => {
    const stopped = live([tuned(balloon(8)), EVENTS.exited()], liveUntilRunning());
    const again: MicrovmEvent[] = [
      { type: 'startRequested', requestedAt: T0 },
      { type: 'placed', hostId: HOST, epoch: 2, receiptId: 'r2', decidedAt: T0 },
    ];
    expect(viewMicrovm(live(again, stopped)).tuned).toEqual([]);
  });

  it('is refused of another incarnation and when it does not run', () => {
    expect(decideEvents(liveUntilRunning(), [tuned(balloon(1), 2)], occasion())).toMatchObject({ kind: 'refused' });
    const stopped = live([EVENTS.exited()], liveUntilRunning());
    expect(decideEvents(stopped, [tuned(balloon(1))], occasion())).toMatchObject({ kind: 'refused' });
  });

  it('of both directions replaces those of one', () => {
    expect(withTuning([limit('send'), limit('receive'), balloon(1)], limit())).toEqual([balloon(1), limit()]);
    expect(withTuning([limit()], limit('send'))).toEqual([limit(), limit('send')]);
  });
});
