import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
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
  ])('is begun anew, aloud, when %s', async (_what, damage) => {
    await keep(agent(), 0.1, 0.2, 0.3);
    writeFileSync(path, damage(readFileSync(path)));
    const next = agent();
    expect(next.recall(look)).toEqual([]);
    expect(errors()).toEqual([expect.stringMatching(/damaged/)]);
    await keep(next, 0.4);
    expect(wanted(agent().recall(look))).toEqual([0.4]);
  });

  it('that cannot be written is said, and written when there is room again', async () => {
    const memory = agent();
    await keep(memory, 0.1);
    rmSync(folder, { recursive: true });
    await keep(memory, 0.2);
    expect(errors()).toEqual([expect.stringMatching(/cannot be kept/)]);
    expect(existsSync(path)).toBe(false);
  });
});
