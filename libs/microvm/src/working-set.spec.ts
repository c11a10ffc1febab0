import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { WorkingSet, workingSetEnd } from '#protocol';
import { describeWithKvm } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import { crc32c } from './crc32c';
import { prefetchWorkingSet, readWorkingSet, recordWorkingSet, WorkingSetError, writeWorkingSet } from './index';

describeWithKvm('working sets of clones', () => {
  const kvm = useDriver({ memoryMiB: 64 });

  it('are what a clone has touched, and can be read ahead', async () => {
    const vm = await kvm.launch({ cmdline: 'touch=32' });
    await vm.booted;
    for (const end = Date.now() + 30_000; !vm.serial().text.includes('touched');) {
      if (Date.now() > end) throw new Error(`not touched: ${vm.serial().text}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const directory = join(kvm.path, 'template');
    await vm.snapshot(directory);
    expect([await prefetchWorkingSet(directory), await readWorkingSet(directory)]).toEqual([0, undefined]);
    const clone = await kvm.launch({ restore: { directory } });
    await clone.booted;
    const bytes = await recordWorkingSet(directory, clone);
    expect(bytes).toBeGreaterThan(4096);
    // It has not read all that its template has touched.
    expect(bytes).toBeLessThan(16 * 1024 * 1024);
    const { runs } = (await readWorkingSet(directory))!;
    // The code of the canary is at 1 MiB, and it ran.
    expect(runs.some(([offset, length]) => offset <= 0x100000 && offset + length > 0x100000)).toBe(true);
    expect(await prefetchWorkingSet(directory)).toBe(bytes);
  });
});

describe('the working set beside a snapshot', () => {
  const MEMORY_BYTES = 64 * 4_096;
  const workingSet: WorkingSet = {
    schema: 1,
    runs: [
      [0, 4_096],
      [8 * 4_096, 2 * 4_096],
    ],
  };
  let directory: string;
  const file = (): string => join(directory, 'working-set');

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'volley-working-set-'));
    writeFileSync(join(directory, 'memory'), '');
    truncateSync(join(directory, 'memory'), MEMORY_BYTES);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('is read as it was written, and is none of less memory', async () => {
    await writeWorkingSet(directory, workingSet);
    expect(await readWorkingSet(directory)).toEqual(workingSet);
    expect(await prefetchWorkingSet(directory)).toBe(3 * 4_096);
    truncateSync(join(directory, 'memory'), 4 * 4_096);
    expect([await readWorkingSet(directory), await prefetchWorkingSet(directory)]).toEqual([undefined, 0]);
    await expect(writeWorkingSet(directory, workingSet)).rejects.toThrow(WorkingSetError);
  });

  it('is none when anything of it was changed, or it is something else', async () => {
    await writeWorkingSet(directory, workingSet);
    const whole = readFileSync(file());
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1 << (at % 8);
      writeFileSync(file(), changed);
      expect([at, await readWorkingSet(directory)]).toEqual([at, undefined]);
      writeFileSync(file(), whole.subarray(0, at));
      expect([at, await readWorkingSet(directory)]).toEqual([at, undefined]);
    }
    // As the builds before this one wrote it; and one that is too large to be one.
    for (const other of ['[[0,4096]]', 'x'.repeat(1 << 20)]) {
      writeFileSync(file(), other);
      expect(await readWorkingSet(directory)).toBeUndefined();
    }
  });

  it('with a right checksum is only ever one that lies in its memory, whatever it says', async () => {
    const number = fc.oneof(
      fc.integer({ min: -8, max: 72 }).map((page) => page * 4_096),
      fc.integer(),
      fc.double(),
    );
    const said = fc.record({
      schema: fc.constantFrom(1, 1, 1, 2),
      runs: fc.oneof(fc.array(fc.tuple(number, number), { maxLength: 3 }), fc.anything()),
    });
    await fc.assert(
      fc.asyncProperty(said, async (told) => {
        const text = Buffer.from(JSON.stringify(told));
        const sum = crc32c(text).toString(16).padStart(8, '0');
        writeFileSync(file(), `${sum} ${text.toString()}`);
        const read = await readWorkingSet(directory);
        expect(read !== undefined).toBe(
          WorkingSet.safeParse(told).success && workingSetEnd(told as WorkingSet) <= MEMORY_BYTES,
        );
        expect(await prefetchWorkingSet(directory)).toBeLessThanOrEqual(MEMORY_BYTES);
      }),
      { numRuns: 300 },
    );
  });
});
