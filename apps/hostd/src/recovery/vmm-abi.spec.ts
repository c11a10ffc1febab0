import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as abi from './vmm-abi';

const ABI_FOLDER = join(__dirname, '../../../../native/abi');
const compiler = ['cc', 'gcc', 'clang'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);
if (!compiler) process.stderr.write('SKIPPED: offsets of the page file: no C compiler (Debian package gcc)\n');

const NUMBERS = {
  STATS_OFFSET: 'VOLLEY_STATS_OFFSET',
  STATS_ABI_VERSION: 'VOLLEY_ABI_VERSION',
  statsAbiVersionOffset: 'VOLLEY_STATS_OFFSET + offsetof(struct volley_stats, abi_version)',
  claimedPidOffset: 'VOLLEY_STATS_OFFSET + offsetof(struct volley_stats, pid)',
  serialBytesOffset: 'VOLLEY_STATS_OFFSET + offsetof(struct volley_stats, serial_bytes)',
  SERIAL_OFFSET: 'VOLLEY_SERIAL_OFFSET',
  SERIAL_RING: 'VOLLEY_SERIAL_RING',
} satisfies Partial<Record<keyof typeof abi, string>>;

(compiler ? it : it.skip)('offsets of the page file are those of the contract', () => {
  const folder = mkdtempSync(join(tmpdir(), 'volley-abi-'));
  try {
    const lines = Object.values(NUMBERS).map((c) => `printf("%lu\\n", (unsigned long)(${c}));`);
    const source = [
      '#include <stddef.h>',
      '#include <stdio.h>',
      '#include "volley_abi.h"',
      'int main(void) {',
      ...lines,
      '}',
    ];
    writeFileSync(join(folder, 'abi.c'), source.join('\n'));
    execFileSync(compiler!, ['-I', ABI_FOLDER, '-o', join(folder, 'abi'), join(folder, 'abi.c')], { timeout: 60_000 });
    const numbers = execFileSync(join(folder, 'abi'), { encoding: 'utf8' }).trim().split('\n').map(Number);
    const expected = Object.keys(NUMBERS).map((name) => abi[name as keyof typeof NUMBERS]);
    expect(numbers).toEqual(expected);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
