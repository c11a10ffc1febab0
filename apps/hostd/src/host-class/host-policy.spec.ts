import pino from 'pino';
import { HostClassSettings, type PolicyHeld } from '#protocol';
import { emptyHostState } from '../journal/host-state';
import { HostPolicy } from './host-policy';

const fixed = (cpu: number) => HostClassSettings.parse({ policy: { kind: 'fixedRatio', cpu, memory: 1 } });
const own = { hostClass: 'plain', settings: fixed(2) };

function policyWith(policy?: PolicyHeld, canWrite = true) {
  const applied: [string, unknown][] = [];
  const state = { ...emptyHostState(), policy };
  const held = new HostPolicy({
    own,
    chronicle: {
      state,
      record: (entry) => {
        if (canWrite) state.policy = entry.policy;
        return canWrite;
      },
    },
    ratio: { goBy: (name, settings) => applied.push([name, settings]), inForce: {} as never },
    guards: { limitBy: () => undefined },
    log: pino({ level: 'silent' }),
  });
  return { held, applied, state };
}

describe('what a host goes by', () => {
  const dense: PolicyHeld = { hostClass: 'dense', revision: 7, settings: fixed(8) };

  it('is its own settings until somebody says another', () => {
    const { held, applied } = policyWith();
    expect(held.held).toEqual({ hostClass: 'plain', revision: null, settings: null });
    expect(applied).toEqual([['plain', own.settings]]);
  });

  it('is written down before it holds, and a new agent begins with it', () => {
    const { held, applied, state } = policyWith();
    expect(held.take(dense)).toBe(true);
    expect([state.policy, applied.at(-1)]).toEqual([dense, ['dense', dense.settings]]);
    expect(held.take({ ...dense })).toBe(false);
    expect(policyWith(state.policy).applied).toEqual([['dense', dense.settings]]);
  });

  it('stays as it was where the new one cannot be written', () => {
    const { held, applied } = policyWith(undefined, false);
    expect(held.take(dense)).toBe(false);
    expect([held.held.hostClass, applied.length]).toEqual(['plain', 1]);
  });

  it('is its own settings again when its class is on record no more', () => {
    const { held, applied } = policyWith(dense);
    expect(held.take({ hostClass: 'dense', revision: null, settings: null })).toBe(true);
    expect(applied.at(-1)).toEqual(['dense', own.settings]);
  });
});
