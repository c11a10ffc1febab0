import fc from 'fast-check';
import { GuardLimits } from '#protocol';
import { CALM_MS, DEFAULT_GUARDS, gatesAfter, OPEN_GATES } from './gates';
import { waitOfTime, type GuardReading } from './readings';

const CALM: GuardReading = {
  ...{ cpuPressure: 10, memoryPressure: 0, vcpuWait: 0 },
  ...{ availableMemory: 50, availableMiB: 512, usableMiB: 1_024 },
};

describe('gates', () => {
  it('given a calm host, when it is looked at, then nothing changes and nothing is made', () => {
    const gates = gatesAfter(OPEN_GATES, CALM, 0);
    expect(gates).toEqual(OPEN_GATES);
    expect(gates.bestEffort).toBe(OPEN_GATES.bestEffort);
  });

  it('given little memory, when it is looked at, then best effort is shut out first, with the numbers', () => {
    const short = gatesAfter(OPEN_GATES, { ...CALM, availableMemory: 11.24 }, 0);
    expect(short.bestEffort).toEqual({ open: false, reason: 'available memory 11.2 % is below 12 %' });
    expect(short.guaranteed.open).toBe(true);
    expect(gatesAfter(short, { ...CALM, availableMemory: 3 }, 0).guaranteed.open).toBe(false);
  });

  it('given guaranteed vCPUs that wait, then best effort is shut out and the guaranteed are not', () => {
    const gates = gatesAfter(OPEN_GATES, { ...CALM, vcpuWait: 10.1 }, 0);
    expect([gates.bestEffort.open, gates.guaranteed.open]).toEqual([false, true]);
  });

  it('given a shut gate, when the figure is between the limits, then it stays shut, for the reason that shut it', () => {
    const shut = gatesAfter(OPEN_GATES, { ...CALM, availableMemory: 11 }, 0);
    const later = gatesAfter(shut, { ...CALM, availableMemory: 13 }, 100 * CALM_MS);
    expect(later.bestEffort).toEqual(shut.bestEffort);
  });

  it('given a shut gate, when its guards have been calm for long enough without a break, then it opens', () => {
    let gates = gatesAfter(OPEN_GATES, { ...CALM, availableMemory: 11 }, 0);
    gates = gatesAfter(gates, CALM, 1_000);
    gates = gatesAfter(gates, CALM, 1_000 + CALM_MS - 1);
    expect(gates.bestEffort.open).toBe(false);
    gates = gatesAfter(gates, { ...CALM, availableMemory: 14 }, 1_000 + CALM_MS);
    gates = gatesAfter(gates, CALM, 2_000 + CALM_MS);
    gates = gatesAfter(gates, CALM, 2_000 + 2 * CALM_MS - 1);
    expect(gates.bestEffort.open).toBe(false);
    gates = gatesAfter(gates, CALM, 2_000 + 2 * CALM_MS);
    expect(gates.bestEffort).toEqual({ open: true });
  });

  it('given a kernel without PSI and no vCPU time to tell from, then those guards say nothing', () => {
    const blind = { ...CALM, cpuPressure: null, memoryPressure: null, vcpuWait: null };
    expect(gatesAfter(OPEN_GATES, blind, 0)).toEqual(OPEN_GATES);
  });

  it('given limits of its class, then those count, and the other class keeps the default ones', () => {
    const guards = { guaranteed: { cpuPressure: { shut: 50, open: 40 } } };
    const gates = gatesAfter(OPEN_GATES, { ...CALM, cpuPressure: 60, availableMemory: 2 }, 0, guards);
    expect(gates.guaranteed.reason).toBe('CPU pressure (some avg10) 60 % is above 50 %');
    expect(gates.bestEffort.open).toBe(false);
  });

  it('whatever is read, best effort is never let in where the guaranteed are not', () => {
    const percent = fc.integer({ min: 0, max: 100 });
    const reading = fc.record({
      cpuPressure: percent,
      memoryPressure: percent,
      vcpuWait: percent,
      availableMemory: percent,
    });
    fc.assert(
      fc.property(fc.array(reading), (readings) => {
        let gates = OPEN_GATES;
        readings.forEach((one, i) => {
          gates = gatesAfter(gates, { ...CALM, ...one }, i * 1_000);
          if (!gates.guaranteed.open) expect(gates.bestEffort.open).toBe(false);
        });
      }),
    );
  });

  it('has limits that a host class may have, too', () => {
    for (const limits of Object.values(DEFAULT_GUARDS)) expect(GuardLimits.parse(limits)).toEqual(limits);
  });
});

describe('wait of vCPU time', () => {
  it('is weighed by what was wanted: a wake-up for a moment does not count like work', () => {
    const samples = [
      { wanted: 0.001, waitPercent: 80 },
      { wanted: 1, waitPercent: 2 },
    ];
    expect(waitOfTime(samples, 99)).toBe(2);
    expect(waitOfTime(samples, 99.95)).toBe(80);
    expect(waitOfTime([], 99)).toBe(0);
    expect(waitOfTime([{ wanted: 0, waitPercent: 50 }], 99)).toBe(0);
  });
});
