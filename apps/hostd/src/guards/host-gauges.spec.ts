import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostGauges } from './host-gauges';

const MIB = 1024 * 1024;

describe('the gauges of a host', () => {
  let proc: string;
  beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'volley-gauges-'));
    const kib = { MemTotal: 1_000, MemFree: 100, MemAvailable: 400 };
    writeFileSync(
      join(proc, 'meminfo'),
      Object.entries(kib)
        .map(([name, mib]) => `${name}: ${mib * 1_024} kB\n`)
        .join(''),
    );
  });
  afterEach(() => rmSync(proc, { recursive: true }));

  const readingWith = (memory?: { limitBytes: number; availableBytes: number }) =>
    new HostGauges({ memory: () => memory }, proc).read();

  it('show what the host has available, in percent of what it has', () => {
    expect(readingWith()).toMatchObject({ availableMemory: 40, availableMiB: 400, usableMiB: 1_000 });
  });

  it('show what is lent to microVMs where less of that is left, and the host where it has less', () => {
    const lent = { limitBytes: 200 * MIB, availableBytes: 20 * MIB };
    expect(readingWith(lent)).toMatchObject({ availableMemory: 10, availableMiB: 20, usableMiB: 200 });
    expect(readingWith({ ...lent, availableBytes: 100 * MIB })).toMatchObject({
      availableMemory: 40,
      usableMiB: 1_000,
    });
    expect(readingWith({ limitBytes: 0, availableBytes: 0 })).toMatchObject({ availableMemory: 0 });
  });

  it('show the pressure that the guards go by: some of CPU, full of memory', () => {
    mkdirSync(join(proc, 'pressure'));
    const lines = (some: number, full: number): string =>
      `some avg10=${some.toFixed(2)} avg60=1.00 avg300=2.00 total=3\nfull avg10=${full.toFixed(2)} avg60=1.00 avg300=2.00 total=3\n`;
    writeFileSync(join(proc, 'pressure', 'cpu'), lines(31.5, 7));
    writeFileSync(join(proc, 'pressure', 'memory'), lines(9, 4.25));
    expect(readingWith()).toMatchObject({ cpuPressure: 31.5, memoryPressure: 4.25 });
  });

  it('show none where the kernel tells none', () => {
    expect(readingWith()).toMatchObject({ cpuPressure: null, memoryPressure: null });
  });
});
