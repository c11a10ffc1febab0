import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { takeFirstWhenOutOfMemory, takeLastWhenOutOfMemory } from './oom-preference';

describe('whom the kernel takes when it runs out of memory', () => {
  it('is a VMM of best effort first', () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      expect(takeFirstWhenOutOfMemory(child.pid!)).toBeUndefined();
      expect(readFileSync(`/proc/${child.pid}/oom_score_adj`, 'utf8')).toBe('1000\n');
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('is nobody who is gone: it says so', () => {
    expect(takeFirstWhenOutOfMemory(2 ** 30)).toContain('ENOENT');
  });

  describe('is the agent last', () => {
    const folder = mkdtempSync(join(tmpdir(), 'volley-oom-'));
    const score = join(folder, 'oom_score_adj');
    afterAll(() => rmSync(folder, { recursive: true }));

    it.each([
      ['0\n', '-900'],
      ['300\n', '-900'],
      ['-500\n', '-900'],
      ['-900\n', '-900\n'],
      ['-1000\n', '-1000\n'],
    ])('of %j it makes %j', (before, after) => {
      writeFileSync(score, before);
      expect(takeLastWhenOutOfMemory(score)).toBeUndefined();
      expect(readFileSync(score, 'utf8')).toBe(after);
    });

    it('where the kernel lets it, and says why where not', () => {
      expect(takeLastWhenOutOfMemory(join(folder, 'no-proc', 'oom_score_adj'))).toContain('ENOENT');
    });
  });
});
