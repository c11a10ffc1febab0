import { MICROVM_MACHINE_VERSION, microvmMachine } from '../../../../libs/lifecycle/src';
import { MICROVM_STATES } from '../../../../libs/protocol/src';
import { MICROVM_ACTIONS, MICROVM_VERBS, allows, rowVerbs } from './microvm-actions';
import { MICROVM_STATE_LOOKS, MICROVM_STATE_NAMES } from './microvm-states';

/** What the controller makes of each, by the state it finds. */
const EVENTS = {
  start: ['startRequested'],
  pause: ['pauseRequested'],
  resume: ['resumeRequested', 'restoreRequested'],
  stop: ['stopRequested'],
  kill: ['killRequested'],
  delete: ['deleteRequested'],
} as const;

describe('the actions offered', () => {
  it(`are those the machine (version ${MICROVM_MACHINE_VERSION}) accepts, state by state`, () => {
    for (const state of MICROVM_STATES) {
      const accepted = microvmMachine.states[state]!.ownEvents as readonly string[];
      for (const verb of MICROVM_VERBS) {
        const works = EVENTS[verb].some((event) => accepted.includes(event));
        expect([state, verb, allows(state, verb)]).toEqual([state, verb, works]);
      }
    }
  });

  it('ask before anything is lost', () => {
    for (const verb of ['stop', 'kill', 'delete'] as const) expect(MICROVM_ACTIONS[verb].confirm).not.toBeNull();
  });

  it('of a row include one that works, in every state that has any', () => {
    for (const state of MICROVM_STATES) {
      const any = MICROVM_VERBS.some((verb) => allows(state, verb));
      expect([state, rowVerbs(state).some((verb) => allows(state, verb))]).toEqual([state, any]);
    }
  });
});

describe('the states drawn', () => {
  it('are all states of the protocol, with the meaning the machine gives them', () => {
    expect([...MICROVM_STATE_NAMES].sort()).toEqual([...MICROVM_STATES].sort());
    for (const state of MICROVM_STATES) {
      const description = microvmMachine.states[state]!.description ?? '';
      // The page may be shorter than the machine, not different.
      expect(description.startsWith(MICROVM_STATE_LOOKS[state].meaning.replace(/\.$/, ''))).toBe(true);
    }
  });

  it('differ without colour when they last', () => {
    const lasting = ['running', 'paused', 'stopped', 'failed', 'unreachable', 'deleted'] as const;
    expect(new Set(lasting.map((state) => MICROVM_STATE_LOOKS[state].shape)).size).toBe(lasting.length);
  });
});
