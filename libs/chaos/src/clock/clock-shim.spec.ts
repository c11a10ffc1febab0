import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ClockShim, clockShimMissing } from './clock-shim';

const ROOT = join(__dirname, '../../../..');
const missing = clockShimMissing();
if (missing) process.stderr.write(`SKIPPED: clocks that jump: ${missing}\n`);

/** Tells its clocks for each line it is sent. */
const TELLER = `process.stdin.on('data', () => console.log(JSON.stringify([Date.now(), Number(process.hrtime.bigint()) / 1e6])))`;

(missing ? describe.skip : describe)('a clock that jumps', () => {
  let folder: string;
  let shim: ClockShim;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-clock-'));
    shim = ClockShim.build(ROOT, folder, ['one']);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function teller(name: string) {
    const child = spawn(process.execPath, ['-e', TELLER], {
      env: { ...process.env, ...shim.env, VOLLEY_SUPERVISED: `/some/where#${name}` },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout });
    return {
      async tell(): Promise<[wallMs: number, monotonicMs: number]> {
        const line = once(lines, 'line');
        child.stdin.write('\n');
        return JSON.parse(((await line) as string[])[0]!) as [number, number];
      },
      async end(): Promise<void> {
        child.kill('SIGKILL');
        await once(child, 'exit');
      },
    };
  }

  it('jumps both ways while the process runs, and its monotonic clock does not', async () => {
    const process_ = teller('one');
    try {
      const [, before] = await process_.tell();
      for (const minutes of [5, -7, 0]) {
        shim.set('one', minutes * 60_000);
        const [wall, monotonic] = await process_.tell();
        const trueNow = Date.now();
        expect(Math.abs(wall - trueNow - minutes * 60_000)).toBeLessThan(20_000);
        expect(monotonic - before).toBeGreaterThanOrEqual(0);
        expect(monotonic - before).toBeLessThan(60_000);
      }
    } finally {
      shim.set('one', 0);
      await process_.end();
    }
  });

  it('leaves processes alone that have no clock of their own', async () => {
    shim.set('one', 3_600_000);
    const other = teller('other');
    try {
      const [wall] = await other.tell();
      expect(Math.abs(wall - Date.now())).toBeLessThan(60_000);
    } finally {
      shim.set('one', 0);
      await other.end();
    }
  });
});
