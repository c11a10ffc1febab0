import { hostMachine } from '../../../../libs/lifecycle/src';
import { HOST_STATES } from '../../../../libs/protocol/src';
import { hostVerbs } from './host-actions';

it('offers for a host what its machine accepts', () => {
  for (const state of HOST_STATES) {
    const accepted = hostMachine.states[state]!.ownEvents as readonly string[];
    for (const verb of ['cordon', 'uncordon', 'retire'] as const) {
      const offered = hostVerbs(state).includes(verb);
      if (offered) expect([state, verb, accepted.includes(`${verb}Requested`)]).toEqual([state, verb, true]);
    }
  }
  expect(hostVerbs('ready')).toEqual(['cordon']);
  expect(hostVerbs('cordoned')).toEqual(['uncordon']);
  for (const state of ['draining', 'drained'] as const) {
    expect(hostMachine.states[state]!.ownEvents).toContain('drainCancelled');
    expect(hostVerbs(state)).toEqual(['cancelDrain']);
  }
});
