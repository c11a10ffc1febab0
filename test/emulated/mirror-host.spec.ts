import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmulatedHost, fetchEmulatedHostTools, startMirrorHost } from '#emulated-host';
import { describeUnless } from '../support/skip-aloud';
import { emulatedHostTools, KERNEL_CACHE } from './tools';

const DEADLINE_MS = 180_000;
jest.setTimeout(2 * DEADLINE_MS);

const found = emulatedHostTools();

describeUnless(found.available ? undefined : found.reason, "an emulated host with this machine's files", () => {
  let folder: string;
  let host: EmulatedHost | undefined;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-mirror-test-'))));
  afterEach(async () => {
    await host?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('runs a program of this machine where it lies, with KVM; what it writes is here only in folders that are shared, what it returns is', async () => {
    const generic = await fetchEmulatedHostTools(KERNEL_CACHE, 'generic');
    if (!generic.available) throw new Error(generic.reason);
    const shared = join(folder, 'shared');
    mkdirSync(shared);
    writeFileSync(join(folder, 'greeting'), 'hello from outside');
    const program = `
      const { readFileSync, writeFileSync, statSync, readdirSync } = require('node:fs');
      writeFileSync('shared/answer', 'for all');
      writeFileSync('answer', readFileSync('greeting', 'utf8') + ', ' + process.env.WHO);
      console.log(readFileSync('answer', 'utf8'), process.argv[1]);
      console.log('kvm', statSync('/dev/kvm').isCharacterDevice(), 'run', readdirSync('/run').length);
      console.log(readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8'));
      process.exit(7);`;
    host = startMirrorHost({
      tools: generic.tools,
      argv: [process.execPath, '-e', program, "it's $HOME"],
      workingFolder: folder,
      environment: { WHO: 'the mirror' },
      shared: [shared],
      memoryMiB: 1_024,
      cpus: 1,
      lifetimeMs: DEADLINE_MS,
    });
    expect(await host.scriptStatus(DEADLINE_MS)).toBe(7);
    expect(host.console).toContain("hello from outside, the mirror it's $HOME\n");
    expect(host.console).toContain('kvm true run 1\n');
    expect(host.console).toMatch(/^cpuset cpu io memory .*pids/m);
    expect(existsSync(join(folder, 'answer'))).toBe(false);
    expect(readFileSync(join(shared, 'answer'), 'utf8')).toBe('for all');
  });
});
