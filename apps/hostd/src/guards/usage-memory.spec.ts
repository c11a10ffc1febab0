import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { mountTightDisk, tightDiskMissing } from '#chaos';
import type { MicrovmUsage } from '#scheduling';
import { UsageMemory } from './usage-memory';

const look = { windows: 3, windowSeconds: 10 };

function usage(wantedCores: number): MicrovmUsage {
  return { microvmId: 'a', vcpus: 1, memoryMiB: 200, wantedCores, waitPercent: 2, usedMiB: 50 };
}

describe('what predicting policies have seen', () => {
  let folder: string;
  let path: string;
  let said: { level: number; msg: string }[];
  const clock = { ms: 1_000_000 };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-usage-'));
    path = join(folder, 'usage');
    said = [];
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const agent = (mostBytes?: number) => {
    const log = pino({}, { write: (line: string) => said.push(JSON.parse(line) as { level: number; msg: string }) });
    return new UsageMemory({ path, wallMs: () => clock.ms, log, ...(mostBytes === undefined ? {} : { mostBytes }) });
  };
  const errors = () => said.filter(({ level }) => level >= 50).map(({ msg }) => msg);
  const wanted = (windows: MicrovmUsage[][]) => windows.map(([one]) => one?.wantedCores);
  const keep = async (memory: UsageMemory, ...cores: number[]) => {
    for (const one of cores) await memory.keep(look, [usage(one)]);
  };

  it('is there for the next agent, the last windows of it', async () => {
    const first = agent();
    expect(first.recall(look)).toEqual([]);
    await keep(first, 0.1, 0.2, 0.3, 0.4);
    const second = agent();
    expect(second.recall(look)).toEqual([[usage(0.2)], [usage(0.3)], [usage(0.4)]]);
    await keep(second, 0.5);
    expect(wanted(agent().recall(look))).toEqual([0.3, 0.4, 0.5]);
    expect(errors()).toEqual([]);
  });

  it('is nothing for a policy that looks at something else, which does not take it away before it has seen anything', async () => {
    const first = agent();
    await keep(first, 0.1, 0.2);
    const other = { ...look, waitPercent: 5 };
    const second = agent();
    expect(second.recall(other)).toEqual([]);
    expect(wanted(second.recall(look))).toEqual([0.1, 0.2]);
    expect(second.recall(other)).toEqual([]);
    await second.keep(other, [usage(0.9)]);
    expect(agent().recall(look)).toEqual([]);
    expect(wanted(agent().recall(other))).toEqual([0.9]);
  });

  it('counts no more when it is twice as old as what is looked back at', async () => {
    await keep(agent(), 0.1);
    clock.ms += 60_000;
    expect(wanted(agent().recall(look))).toEqual([0.1]);
    clock.ms += 1;
    expect(agent().recall(look)).toEqual([]);
  });

  it('takes a bounded number of records', async () => {
    const memory = agent();
    let most = 0;
    for (let i = 0; i < 40; i++) {
      await keep(memory, i);
      most = Math.max(most, statSync(path).size);
    }
    const lines = (file: Buffer) => file.toString().split('\n').length - 1;
    expect(lines(readFileSync(path))).toBeLessThanOrEqual(1 + 2 * look.windows);
    expect(most).toBeLessThan(2_000);
    expect(wanted(agent().recall(look))).toEqual([37, 38, 39]);
  });

  it('takes a bounded number of bytes, and the newest are what is left', async () => {
    const memory = agent(400);
    for (let i = 0; i < 20; i++) {
      await keep(memory, i);
      expect(statSync(path).size).toBeLessThanOrEqual(400);
    }
    expect(wanted(agent().recall(look)).at(-1)).toBe(19);
  });

  it('goes on after a record that was torn when the agent died', async () => {
    await keep(agent(), 0.1, 0.2);
    truncateSync(path, statSync(path).size - 7);
    const next = agent();
    expect(wanted(next.recall(look))).toEqual([0.1]);
    await keep(next, 0.3);
    expect(wanted(agent().recall(look))).toEqual([0.1, 0.3]);
    expect(errors()).toEqual([]);
  });

  it.each([
    ['a byte of it is another', (file: Buffer) => Buffer.from(file.map((byte, at) => (at === 90 ? byte ^ 1 : byte)))],
    ['its header is of another format', (file: Buffer) => Buffer.from(file.toString().replace(/^.*\n/, ''))],
    ['it is something else', () => Buffer.from('hello\n')],
    ['it is cut off in its header', (file: Buffer) => file.subarray(0, 20)],
    ['nothing is in it', () => Buffer.alloc(0)],
  ])('is begun anew, aloud, when %s', async (_what, damage) => {
    await keep(agent(), 0.1, 0.2, 0.3);
    writeFileSync(path, damage(readFileSync(path)));
    const next = agent();
    expect(next.recall(look)).toEqual([]);
    expect(errors()).toEqual([expect.stringMatching(/damaged/)]);
    await keep(next, 0.4);
    expect(wanted(agent().recall(look))).toEqual([0.4]);
  });

  it('is begun anew, aloud, when it cannot be read, and kept as soon as nothing is in the way', async () => {
    mkdirSync(join(path, 'in the way'), { recursive: true });
    const memory = agent();
    expect(memory.recall(look)).toEqual([]);
    await keep(memory, 0.1, 0.2);
    expect(errors()).toEqual([expect.stringMatching(/cannot be read/), expect.stringMatching(/cannot be kept/)]);
    expect(readdirSync(folder)).toEqual(['usage']);
    rmSync(path, { recursive: true });
    await keep(memory, 0.3);
    expect(wanted(agent().recall(look))).toEqual([0.3]);
  });

  it('that cannot be written is said once, and written again when it can be', async () => {
    const memory = agent();
    await keep(memory, 0.1);
    rmSync(folder, { recursive: true });
    await keep(memory, 0.2, 0.3);
    expect(errors()).toEqual([expect.stringMatching(/cannot be kept/)]);
    mkdirSync(folder);
    await keep(memory, 0.4, 0.5);
    expect(wanted(agent().recall(look))).toEqual([0.4, 0.5]);
    expect(errors()).toHaveLength(1);
    expect(said.map(({ msg }) => msg)).toContain('what this host sees is kept again');
  });

  const missing = tightDiskMissing();
  if (missing) process.stderr.write(`SKIPPED: what policies have seen, on a full disk: ${missing}\n`);
  (missing ? it.skip : it)('outlives a full disk, but for what was seen meanwhile', async () => {
    const disk = mountTightDisk(join(folder, 'disk'), 1 << 20);
    try {
      path = join(disk.path, 'usage');
      /** More than what may be left of the file's last page. */
      const keepMany = (memory: UsageMemory, cores: number) => memory.keep(look, Array(200).fill(usage(cores)));
      const memory = agent();
      await keepMany(memory, 1);
      for (let times = 0; times < 2; times++) {
        said.length = 0;
        disk.fill();
        for (let i = 0; i < 10; i++) await keepMany(memory, 2);
        expect(errors()).toEqual([expect.stringMatching(/cannot be kept/)]);
        expect(said.find(({ level }) => level >= 50)).toMatchObject({ err: { code: 'ENOSPC' } });
        expect(readdirSync(disk.path).sort()).toEqual(['filler', 'usage']);
        expect(wanted(agent().recall(look))).toEqual(Array(times + 1).fill(1));
        disk.free();
        await keepMany(memory, 1);
        expect(wanted(agent().recall(look))).toEqual(Array(times + 2).fill(1));
        expect(errors()).toHaveLength(1);
      }
    } finally {
      disk.unmount();
    }
  });
});
