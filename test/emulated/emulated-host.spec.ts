import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EmulatedHost } from './emulated-host';
import { findEmulatedHostTools } from './emulated-host.requirements';

describe('x', () => {
  it('boots', async () => {
    const a = await findEmulatedHostTools(join(process.cwd(), '.volley/cache/kernels'));
    if (!a.available) throw new Error(a.reason);
    const t = Date.now();
    const host = EmulatedHost.start(a.tools, { memoryMiB: 512, script: 'ls -la /dev/kvm; uname -a; cat /proc/uptime; exit 3' });
    try {
      console.log(await host.scriptStatus(100_000), Date.now() - t, host.console);
    } finally {
      await host.stop();
    }
    expect(existsSync((host as any).folder)).toBe(false);
  }, 120_000);
});
