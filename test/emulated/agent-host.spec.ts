import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { INSTALLED_AT } from '#emulated-host';
import type { Host, Microvm } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { natsServerMissing } from '../support/nats-server';
import { describeUnless } from '../support/skip-aloud';
import { hostShell } from './host-shell';
import { findNativeBuild } from './native-build';
import { emulatedHostTools } from './tools';

/** Everything here is emulated, perhaps on a busy machine. */
const BOOT_MS = 400_000;
const SLOW_MS = 240_000;
jest.setTimeout(SLOW_MS * 2);

const found = emulatedHostTools();
const build = findNativeBuild();
const obstacle =
  (found.available ? undefined : found.reason) ??
  (typeof build === 'string' ? build : undefined) ??
  (natsServerMissing() ? 'nats-server is missing' : undefined);

describeUnless(obstacle, 'up --emulated', () => {
  const fleet = new Fleet();
  let hostId: string;

  beforeAll(async () => {
    fleet.commandMs = BOOT_MS;
    fleet.requestMs = SLOW_MS;
    await fleet.up('--emulated', '--emulated-memory', '2048', '--no-canary');
    const settings = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as Record<string, string>;
    hostId = settings['emulatedHostId']!;
    // So that there is one host to choose from.
    await fleet.rest('POST', `/v1/hosts/${settings['hostId']}/cordon`, {});
  }, BOOT_MS);
  afterAll(() => fleet.down(), SLOW_MS);

  const host = async (): Promise<Host> => (await fleet.rest<Host>('GET', `/v1/hosts/${hostId}`)).body;
  const running = async (): Promise<Microvm> => {
    const { status, body } = await fleet.rest<Microvm>('POST', '/v1/microvms?wait=running&timeout=200s', {
      image: 'canary',
      memoryMiB: 32,
    });
    expect([status, body.state, body.hostId]).toEqual([201, 'running', hostId]);
    return body;
  };
  const qemu = (): number[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${fleet.data}/emulated/disk.ext4`);
        } catch {
          return false; // gone meanwhile
        }
      })
      .map(Number);

  it('adds a host with hardware KVM that says what it is', async () => {
    const { state, description } = await host();
    expect(state).toBe('ready');
    expect(description).toMatchObject({
      kvm: { available: true, kind: 'hardware' },
      linux: { available: true },
      labels: { emulated: 'true' },
      cpus: 1,
    });
    const tolerance = 'cat /sys/module/kvm/parameters/tsc_tolerance_ppm';
    expect(await hostShell(fleet.data, tolerance)).toBe('500000\n');
    expect((await fleet.volley('hosts')).stdout).toMatch(new RegExp(`${hostId} +ready +hardware +yes`));
    expect((await fleet.status()).processes.map(({ name }) => name)).toContain('emulated-host');
  });

  it('shows the secrets to nobody', () => {
    expect(statSync(join(fleet.data, 'emulated')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(fleet.data, 'emulated')).sort()).toEqual(['disk.ext4', 'plan.json']);
    const seed = readFileSync(join(fleet.data, `keys/host-${hostId}.nk`), 'utf8').trim();
    for (const pid of qemu()) {
      expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).not.toContain(seed);
      expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toContain(seed);
    }
    expect(readFileSync(join(fleet.data, 'logs/emulated-host.log'), 'latin1')).not.toContain(seed);
  });

  it('runs a canary there, which is stopped, and started again', async () => {
    const { id } = await running();
    expect((await fleet.volley('logs', id)).stdout).toContain('canary: 32 MiB');
    await fleet.rest('POST', `/v1/microvms/${id}/stop?wait=stopped&timeout=200s`, { timeoutMs: 20_000 });
    expect(await fleet.get(id)).toMatchObject({ state: 'stopped', reason: 'the guest powered off' });
    await fleet.rest('POST', `/v1/microvms/${id}/start?wait=running&timeout=200s`, {});
    expect(await fleet.get(id)).toMatchObject({ state: 'running', hostId });
    await fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted&timeout=200s`);
  });

  it('tells when a VMM was killed there', async () => {
    const { id, pid } = await running();
    await hostShell(fleet.data, `kill -9 ${pid}`);
    expect((await fleet.reaches(id, 'failed', SLOW_MS)).reason).toMatch(/killed/);
    await fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted&timeout=200s`);
  });

  // On Debian's kernel, which runs such a thread no more if it was made one among the others in the wrong way.
  it('runs a thread that has CPU time reserved anew after it had used up all of a reservation', async () => {
    const program = `
      const { readFileSync } = require('node:fs');
      const { setTimeout } = require('node:timers/promises');
      const { CpuReservations } = require('${INSTALLED_AT}/dist/libs/microvm/src/index.js');
      const kernel = new CpuReservations();
      const busy = require('node:child_process').spawn('sh', ['-c', 'while :; do :; done']);
      const ranMs = () => Number(readFileSync('/proc/' + busy.pid + '/schedstat', 'latin1').split(' ')[0]) / 1e6;
      const hasUsedUp = () => /^dl\\.runtime *: *-/m.test(readFileSync('/proc/' + busy.pid + '/sched', 'latin1'));
      (async () => {
        kernel.reserve(busy.pid, { runtimeMs: 20, periodMs: 1000 });
        while (!hasUsedUp()) await setTimeout(5);
        kernel.release(busy.pid);
        for (const from = ranMs(); ranMs() < from + 1500;) await setTimeout(50);
        kernel.reserve(busy.pid, { runtimeMs: 20, periodMs: 1000 });
        const from = ranMs();
        for (let n = 0; n < 100 && ranMs() < from + 40; n++) await setTimeout(50);
        console.log(ranMs() < from + 40 ? 'stands still' : 'runs');
      })().finally(() => busy.kill('SIGKILL'));`;
    expect(await hostShell(fleet.data, `node -e "$(cat <<'END'\n${program}\nEND\n)"`)).toBe('runs\n');
  });

  it(
    'is started again when it dies, as the same host with its disk, and knows that its microVMs ended',
    async () => {
      const { id } = await running();
      await hostShell(fleet.data, 'echo kept >/var/lib/volley/by-test; sync');
      const before = await host();
      const emulators = qemu();
      expect(emulators.length).toBeGreaterThan(0);
      for (const pid of emulators) process.kill(pid, 'SIGKILL');
      await until(
        'it is back',
        async () => {
          const now = await host();
          return now.state === 'ready' && now.description.bootId !== before.description.bootId;
        },
        BOOT_MS,
      );
      expect(await hostShell(fleet.data, 'cat /var/lib/volley/by-test')).toBe('kept\n');
      const ended = await fleet.reaches(id, 'failed', SLOW_MS);
      expect(ended.reason).toBe('the machine under it was restarted');
    },
    BOOT_MS * 2,
  );

  it('ends with everything else, and leaves only its disk', async () => {
    await fleet.volley('down');
    expect(qemu()).toEqual([]);
    expect(existsSync(join(fleet.data, 'emulated/initrd.cpio'))).toBe(false);
    const log = readFileSync(join(fleet.data, 'logs/emulated-host.log'), 'latin1');
    expect(log).toContain('volley-host: good night');
  });
});
