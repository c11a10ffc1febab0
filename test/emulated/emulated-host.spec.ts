import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { EmulatedHost, EmulatedHostError, programFiles, THIS_MACHINE } from '#emulated-host';
import { until } from '../support/fleet';
import { describeUnless } from '../support/skip-aloud';
import { emulatedHostTools } from './tools';

const DEADLINE_MS = 120_000;
jest.setTimeout(3 * DEADLINE_MS);

const found = emulatedHostTools();

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
    expect(await host.scriptStatus(DEADLINE_MS)).toBe(7);
    expect(host.console).toMatch(/^hello from outside\r?\nsvm\r?$/m);
  });

  it('has a KVM that takes any rate of the time stamp counter, whatever the kernel took it for at first', async () => {
    const host = start({ memoryMiB: 512, script: 'cat /sys/module/kvm/parameters/tsc_tolerance_ppm' });
    expect(await host.scriptStatus(DEADLINE_MS)).toBe(0);
    expect(host.console).toMatch(/^500000\r?$/m);
  });

  it('runs Node, which reaches a service of this machine', async () => {
    const service = createServer((request, response) => response.end(`answer to ${request.url}`));
    service.listen(0, '127.0.0.1');
    await once(service, 'listening');
    const { port } = service.address() as AddressInfo;
    try {
      const host = start({
        memoryMiB: 1024,
        network: true,
        files: programFiles(process.execPath),
        script: `${process.execPath} -e 'fetch("http://${THIS_MACHINE}:${port}/ping").then((r) => r.text()).then(console.log)'`,
      });
      expect(await host.scriptStatus(DEADLINE_MS)).toBe(0);
      expect(host.console).toContain('answer to /ping');
    } finally {
      service.close();
      service.closeAllConnections();
    }
  });

  it('says what the console held when awaited text does not come, and leaves nothing behind', async () => {
    const host = start({ memoryMiB: 512, script: 'echo only this; exit 0' });
    const folder = await temporaryFolderOf(host);
    expect(existsSync(folder)).toBe(true);
    const failure = await host.waitFor(/never printed/, DEADLINE_MS).catch((cause: unknown) => cause);
    expect(failure).toBeInstanceOf(EmulatedHostError);
    expect(String(failure)).toContain('only this');
    await host.stop();
    expect(existsSync(folder)).toBe(false);
  });

  it('is gone at once when stopped in the middle of its boot', async () => {
    const host = start({ memoryMiB: 512, script: 'sleep 1000' });
    const pid = host.pid;
    await host.stop();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });
});

/** Where a running host's files lie, as its emulator was told. Other specs have hosts of their own at the same time. */
async function temporaryFolderOf(host: EmulatedHost): Promise<string> {
  let initrd: string | undefined;
  await until('it has its arguments', () => {
    // None for a moment: one program makes itself another.
    const argv = readFileSync(`/proc/${host.pid}/cmdline`, 'utf8').split('\0');
    initrd = argv[argv.indexOf('-initrd') + 1];
    return Promise.resolve(argv.includes('-initrd'));
  });
  return dirname(initrd!);
}
