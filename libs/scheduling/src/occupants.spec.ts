import fc from 'fast-check';
import { SHARED, type Coresidency } from '#protocol';
import { mayShare, Occupants } from './occupants';

const tenant = fc.constantFrom('a', 'b', 'c');
const coresidency: fc.Arbitrary<Coresidency> = fc.record({
  mode: fc.constantFrom('shared' as const, 'shared' as const, 'dedicated' as const),
  neverWith: fc.array(tenant, { maxLength: 2 }),
});
const occupant = fc.record({ tenant, coresidency });

describe('who may be on one host', () => {
  it('is the same from both sides, and never in question among microVMs of one tenant', () => {
    fc.assert(
      fc.property(occupant, occupant, (a, b) => {
        expect(mayShare(a, b)).toBe(mayShare(b, a));
        if (a.tenant === b.tenant) expect(mayShare(a, b)).toBe(true);
        else if (a.coresidency.mode === 'dedicated') expect(mayShare(a, b)).toBe(false);
        else if (b.coresidency.neverWith.includes(a.tenant)) expect(mayShare(a, b)).toBe(false);
      }),
    );
  });

  it('is decided by everybody who is there, under the rules they came with, and by nobody who has left', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(occupant, fc.boolean()), { maxLength: 8 }), occupant, (arrivals, newcomer) => {
        const occupants = new Occupants();
        for (const [one] of arrivals) occupants.add(one);
        for (const [one, leaves] of arrivals) if (leaves) occupants.remove(one);
        const stay = arrivals.filter(([, leaves]) => !leaves).map(([one]) => one);
        expect(occupants.accepts(newcomer)).toBe(stay.every((one) => mayShare(one, newcomer)));
        expect(occupants.countOf('a')).toBe(stay.filter((one) => one.tenant === 'a').length);
      }),
      { numRuns: 500 },
    );
  });

  it('holds one tenant to all the rules it has been admitted under', () => {
    const occupants = new Occupants();
    occupants.add({ tenant: 'a', coresidency: SHARED });
    occupants.add({ tenant: 'a', coresidency: { mode: 'dedicated', neverWith: [] } });
    expect(occupants.accepts({ tenant: 'b', coresidency: SHARED })).toBe(false);
    occupants.remove({ tenant: 'a', coresidency: { mode: 'dedicated', neverWith: [] } });
    expect(occupants.accepts({ tenant: 'b', coresidency: SHARED })).toBe(true);
  });
});
