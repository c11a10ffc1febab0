import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rememberOwner, sweepRunDirs } from './run-dirs';

it('removes run folders of data folders that are gone, and nothing else', () => {
  const parent = mkdtempSync(join(tmpdir(), 'volley-run-'));
  try {
    for (const name of ['gone', 'here', 'stranger']) mkdirSync(join(parent, name, 'volley-x'), { recursive: true });
    rememberOwner(join(parent, 'gone'), join(parent, 'no-such-folder'));
    rememberOwner(join(parent, 'here'), parent);
    sweepRunDirs(parent);
    expect(readdirSync(parent).sort()).toEqual(['here', 'stranger']);
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
});
