import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VmmIdentity } from '#microvm';
import { leavePages } from '../testing/vmm-pages';
import { bootId, unrecordedIdentity } from './vmm-search';

describe('the VMM of an incarnation whose process was not written down', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'volley-search-'))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const claimedBy = (pid: number): void => leavePages(directory, pid);
  const foundAt = (look: number, identity?: VmmIdentity) => {
    let looks = 0;
    return { find: () => Promise.resolve(++looks >= look ? identity : undefined) };
  };

  it('is none where none was launched', async () => {
    expect(await unrecordedIdentity(foundAt(1), 'm', directory)).toBeUndefined();
    claimedBy(0);
    expect(await unrecordedIdentity(foundAt(1), 'm', directory)).toBeUndefined();
  });

  it('is waited for while its process does not look like one yet, however busy the machine is', async () => {
    const identity = { pid: process.pid, startTicks: '1', bootId: bootId(), directory };
    claimedBy(process.pid);
    expect(await unrecordedIdentity(foundAt(20, identity), 'm', directory)).toBe(identity);
  });

  it('is known to have been there when its process has ended', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    claimedBy(child.pid!);
    expect(await unrecordedIdentity(foundAt(2), 'm', directory)).toMatchObject({ pid: child.pid, startTicks: '0' });
  });
});
