import { MICROVM_STATES, type Microvm, type MicrovmStateName } from '#protocol';
import { progressTo } from './target-state';

const microvm = (state: MicrovmStateName, runningAt?: number) =>
  ({ state, timings: { requestedAt: 1, acceptedAt: 1, ...(runningAt === undefined ? {} : { runningAt }) } }) as Microvm;

describe('progressTo', () => {
  it.each(MICROVM_STATES)('has reached %s in %s', (state) => {
    expect(progressTo(state, microvm(state))).toBe('reached');
  });

  it.each(['requested', 'placing', 'starting', 'pausing', 'resuming', 'stopping', 'unreachable', 'deleting'] as const)(
    'is still on its way in %s',
    (state) => expect(progressTo('running', microvm(state))).toBe('pending'),
  );

  it.each(['paused', 'failed', 'deleted', 'stopped'] as const)('has missed running in %s', (state) => {
    expect(progressTo('running', microvm(state))).toBe('missed');
  });

  it('counts a run that was over before anybody looked', () => {
    expect(progressTo('running', microvm('stopped', 5))).toBe('reached');
    expect(progressTo('running', microvm('failed', 5))).toBe('missed');
  });
});
