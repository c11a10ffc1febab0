import { Residency, type ResidencyRecord, type Stay } from './residency';

const HERE = { hostId: 'host-a', epoch: 1 };
const THERE = { hostId: 'host-b', epoch: 2 };

/** Stays of a history, one event a record, one ms apart; the last may still last. */
function stays(...story: [event: ResidencyRecord['events'][number], state: string][]): string[] {
  const residency = new Residency();
  const all: Stay[] = story.flatMap(([event, to], at) => residency.take({ microvmId: 'm', at, to, events: [event] }));
  const last = residency.at('m');
  return [...all, ...(last ? [last] : [])].map(
    ({ tenant, hostId, epoch, from, to }) => `${tenant} ${hostId}#${epoch} ${from}..${to ?? ''}`,
  );
}

const BORN: [ResidencyRecord['events'][number], string] = [{ type: 'requested', spec: { tenant: 't' } }, 'placing'];
const PLACED: typeof BORN = [{ type: 'placed', ...HERE }, 'starting'];
const STARTED: typeof BORN = [{ type: 'started', ...HERE }, 'running'];
const UNREACHABLE: typeof BORN = [{ type: 'hostLost', hostId: 'host-a' }, 'unreachable'];

describe('Residency', () => {
  it('is on its host from its placement until its end is known', () => {
    expect(stays(BORN)).toEqual([]);
    expect(stays(BORN, PLACED)).toEqual(['t host-a#1 1..']);
    expect(stays(BORN, PLACED, STARTED, [{ type: 'exited', ...HERE }, 'stopped'])).toEqual(['t host-a#1 1..3']);
    expect(stays(BORN, PLACED, STARTED, [{ type: 'exited', ...HERE }, 'requested'])).toEqual(['t host-a#1 1..3']);
    const deleting: typeof BORN = [{ type: 'deleteRequested' }, 'deleting'];
    expect(stays(BORN, PLACED, STARTED, deleting)).toEqual(['t host-a#1 1..']);
    expect(stays(BORN, PLACED, deleting, [{ type: 'erased', ...HERE }, 'deleted'])).toEqual(['t host-a#1 1..3']);
    const gone: typeof BORN = [{ type: 'hostGone', hostId: 'host-a' }, 'deleted'];
    expect(stays(BORN, PLACED, UNREACHABLE, deleting, gone)).toEqual(['t host-a#1 1..4']);
  });

  it('counts as there while its host does not answer, until it starts elsewhere', () => {
    expect(stays(BORN, PLACED, STARTED, UNREACHABLE)).toEqual(['t host-a#1 1..']);
    const leaseMargin: typeof BORN = [{ type: 'deadlinePassed' }, 'placing'];
    const elsewhere: typeof BORN = [{ type: 'placed', ...THERE }, 'starting'];
    expect(stays(BORN, PLACED, UNREACHABLE, leaseMargin)).toEqual(['t host-a#1 1..']);
    expect(stays(BORN, PLACED, UNREACHABLE, leaseMargin, elsewhere)).toEqual(['t host-a#1 1..4', 't host-b#2 4..']);
    const given: typeof BORN = [{ type: 'placementFailed' }, 'failed'];
    expect(stays(BORN, PLACED, UNREACHABLE, leaseMargin, given)).toEqual(['t host-a#1 1..4']);
  });

  it('was never where it was refused', () => {
    const refused: typeof BORN = [{ type: 'refused', ...HERE }, 'placing'];
    expect(stays(BORN, PLACED, refused)).toEqual([]);
    expect(stays(BORN, PLACED, refused, [{ type: 'placed', ...THERE }, 'starting'])).toEqual(['t host-b#2 3..']);
  });

  it('is not ended by what is said of another incarnation', () => {
    const stale: typeof BORN = [{ type: 'exited', hostId: 'host-a', epoch: 7 }, 'running'];
    expect(stays(BORN, PLACED, STARTED, stale)).toEqual(['t host-a#1 1..']);
  });
});
