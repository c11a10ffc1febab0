import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describeUnless } from './describe-unless';
import { EmulatedHost } from './emulated-host';
import { findEmulatedHostTools } from './emulated-host.requirements';
import { EmulatedHostError } from './errors';

const found = findEmulatedHostTools();

describeUnless(found.available ? undefined : found.reason, 'an emulated host', () => {
  const tools = found.available ? found.tools : (undefined as never);
  const hosts: EmulatedHost[] = [];
  const start = (options: Parameters<typeof EmulatedHost.start>[1]): EmulatedHost => {
    const host = EmulatedHost.start(tools, options);
    hosts.push(host);
    return host;
  };
  afterEach(async () => Promise.all(hosts.splice(0).map((host) => host.stop())));

  it('has hardware KVM, the files it was given, and tells how its script ended', async () => {
    const host = start({
      memoryMiB: 512,
      files: [{ path: '/etc/greeting', content: 'hello from outside' }],
      script: 'cat /etc/greeting; echo; grep -o -w -m1 svm /proc/cpuinfo; test -c /dev/kvm && exit 7',
    });
    expect(await host.scriptStatus(120_000)).toBe(7);
    expect(host.console).toMatch(/^hello from outside\r?\nsvm\r?$/m);
  }, 150_000);

  it('says what the console held when awaited text does not come, and leaves nothing behind', async () => {
    const before = temporaryFolders();
    const host = start({ memoryMiB: 512, script: 'echo only this; exit 0' });
    const failure = await host.waitFor(/never printed/, 120_000).catch((cause: unknown) => cause);
    expect(failure).toBeInstanceOf(EmulatedHostError);
    expect(String(failure)).toContain('only this');
    await host.stop();
    expect(temporaryFolders()).toEqual(before);
  }, 150_000);

  it('is gone at once when stopped in the middle of its boot', async () => {
    const host = start({ memoryMiB: 512, script: 'sleep 1000' });
    const pid = host.pid;
    await host.stop();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  }, 60_000);
});

function temporaryFolders(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('volley-emulated-host-'));
}
