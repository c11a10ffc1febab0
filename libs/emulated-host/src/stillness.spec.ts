import { cpuMsOf, standsStill } from './stillness';

const patience = { everyMs: 1, looks: 3 };
const forever = (): AbortSignal => new AbortController().signal;

/** Readings one after another; how many were taken is told. */
function readings(...values: (number | undefined)[]): { cpuMs: () => number | undefined; taken: () => number } {
  let next = 0;
  return { cpuMs: () => values[next++], taken: () => next };
}

describe('whether something stands still', () => {
  it('is said after so many looks in a row without any progress', async () => {
    const { cpuMs, taken } = readings(10, 10, 10, 20, 20, 20, 20, 30);
    expect(await standsStill(cpuMs, forever(), patience)).toBe(true);
    expect(taken()).toBe(7);
  });

  it('is not said of what has ended', async () => {
    expect(await standsStill(readings(10, 10, 10, undefined).cpuMs, forever(), patience)).toBe(false);
  });

  it('is not said when nobody wants to know any more', async () => {
    const nobody = new AbortController();
    const asked = standsStill(() => 10, nobody.signal, { everyMs: 60_000, looks: 1 });
    nobody.abort();
    expect(await asked).toBe(false);
  });

  it('goes by the processor time of a process', () => {
    const before = cpuMsOf(process.pid)!;
    for (let spun = 0; cpuMsOf(process.pid)! < before + 20; spun++);
    expect(cpuMsOf(2 ** 22 + 1)).toBeUndefined();
  });
});
