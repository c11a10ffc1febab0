import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchKernelPackageSync, type KernelPackage } from '#kernel-package';
import type { Microvm, MicrovmSpecInput, MicrovmStateName } from '#protocol';
import { Fleet } from '../support/fleet';
import { natsServerMissing } from '../support/nats-server';
import { busyboxImage, missingProgram, OCI_PROGRAMS } from '../support/oci-image';
import { describeUnless } from './describe-unless';
import { hostShell } from './host-shell';
import { findNativeBuild } from './native-build';
import { emulatedHostTools, KERNEL_CACHE } from './tools';

/** Everything in here is emulated twice, perhaps on a busy machine; nothing is waited for longer than it takes. */
const BOOT_MS = 400_000;
const START_MS = 290_000;
const SLOW_MS = 240_000;
jest.setTimeout(START_MS * 2);

/** A piece of the outside world, in a network namespace of the emulated host: reached by routes, as the world is. */
const WORLD = '198.51.100.10';
const MEMORY_MIB = 160;

const found = emulatedHostTools();
const build = findNativeBuild();
const obstacle =
  (found.available ? undefined : found.reason) ??
  (typeof build === 'string' ? build : undefined) ??
  natsServerMissing() ??
  missingProgram({ ...OCI_PROGRAMS, nft: 'nftables', ip: 'iproute2' }) ??
  (process.getuid?.() === 0 ? undefined : 'layers are unpacked as root only');

interface Ran {
  exitCode: number | null;
  signal: number | string | null;
  stdout: string;
  stderr: string;
}

describeUnless(obstacle, 'workloads on stock Linux', () => {
  const fleet = new Fleet();
  let folder: string;
  const kernels = {} as Record<'cloud' | 'generic', KernelPackage>;

  beforeAll(async () => {
    fleet.commandMs = BOOT_MS;
    fleet.requestMs = START_MS + 30_000;
    folder = mkdtempSync(join(tmpdir(), 'volley-workloads-'));
    kernels.cloud = fetchKernelPackageSync({ cacheFolder: KERNEL_CACHE });
    kernels.generic = fetchKernelPackageSync({ cacheFolder: KERNEL_CACHE, flavour: 'generic' });
    busyboxImage(join(folder, 'layout'), { command: ['sleep', '1000000'], env: { GREETING: 'from the image' } });
    await fleet.up('--emulated', '--emulated-memory', '4096', '--no-canary');
    await fleet.volley('image', 'import', join(folder, 'layout'), '--name', 'box');
    await fleet.volley(
      'image',
      'import',
      'debian-kernel',
      '--package',
      kernels.generic.name,
      '--name',
      'generic-kernel',
    );
    await fleet.volley(
      'image',
      'import',
      join(folder, 'layout'),
      '--name',
      'box-generic',
      '--kernel',
      'generic-kernel',
    );
    await hostShell(
      fleet.data,
      // By its path, or the shell takes busybox's own, which knows neither namespaces nor pairs.
      `ip() { /usr/sbin/ip "$@"; }
       ip netns add world && ip link add world type veth peer name eth0 netns world &&
       ip addr add 198.51.100.1/24 dev world && ip link set world up &&
       ip -n world addr add ${WORLD}/24 dev eth0 && ip -n world link set eth0 up && ip -n world link set lo up &&
       ip -n world route add default via 198.51.100.1
       mkdir -p /tmp/www && echo 'the world' >/tmp/www/index.html
       for port in 80 81; do ip netns exec world httpd -p $port -h /tmp/www; done
       sleep 0`,
    );
  }, BOOT_MS * 2);
  afterAll(async () => {
    await fleet.down();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }, SLOW_MS);

  /** Of the test that runs: what goes on running takes the one processor from the next. */
  const mine: string[] = [];
  afterEach(async () => {
    for (const id of mine.splice(0)) await remove(id);
  }, SLOW_MS);

  const start = async (spec: Partial<MicrovmSpecInput> = {}): Promise<Microvm> => {
    const created = await fleet.rest<Microvm>('POST', '/v1/microvms', {
      image: 'box',
      memoryMiB: MEMORY_MIB,
      // Costs time here, and protects nothing.
      cmdline: 'mitigations=off',
      network: 'none',
      ...spec,
    });
    if (created.status !== 202) throw new Error(`not created: ${created.status} ${JSON.stringify(created.body)}`);
    mine.push(created.body.id);
    return fleet.reaches(created.body.id, 'running', START_MS);
  };
  const exec = async (id: string, ...command: string[]): Promise<Ran> => {
    const { status, body } = await fleet.rest<Ran>('POST', `/v1/microvms/${id}/exec`, { command, timeoutMs: SLOW_MS });
    if (status !== 200) throw new Error(`not run: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  const shell = (id: string, script: string): Promise<Ran> => exec(id, 'sh', '-c', script);
  const remove = (id: string) => fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted&timeout=60s`);
  /** Has the guest do something that ends it, and gives how it ended. */
  const endOf = async (id: string, script: string, state: MicrovmStateName): Promise<Microvm> => {
    void shell(id, script).catch(() => undefined); // the guest may be gone before it answers
    return fleet.reaches(id, state, SLOW_MS);
  };

  describe('an OCI image', () => {
    let id: string;
    beforeAll(async () => {
      ({ id } = await start({ name: 'first' }));
      mine.splice(0);
    }, START_MS);
    afterAll(() => remove(id), SLOW_MS);

    it('runs on the host that boots Linux', async () => {
      const { emulatedHostId } = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as {
        emulatedHostId: string;
      };
      expect(await fleet.get(id)).toMatchObject({ state: 'running', hostId: emulatedHostId });
      expect((await exec(id, 'uname', '-r')).stdout).toBe(`${kernels.cloud.release}\n`);
      expect((await exec(id, 'nproc')).stdout).toBe('1\n');
    });

    it('gives output, errors and exit code of a command', async () => {
      expect(await shell(id, 'echo "$GREETING"; echo trouble >&2; exit 7')).toMatchObject({
        exitCode: 7,
        stdout: 'from the image\n',
        stderr: 'trouble\n',
      });
      expect((await shell(id, 'kill -9 $$')).signal).not.toBeNull();
    });

    it(
      'keeps what is written over stop and start, for itself alone',
      async () => {
        await shell(id, 'mkdir -p /var/lib/mine && echo kept >/var/lib/mine/file && rm /etc/greeting && sync');
        await fleet.rest('POST', `/v1/microvms/${id}/stop?wait=stopped&timeout=100s`, { timeoutMs: 60_000 });
        expect(await fleet.get(id)).toMatchObject({ state: 'stopped', exit: { reason: 'powerOff' } });
        await fleet.rest('POST', `/v1/microvms/${id}/start?wait=running&timeout=${START_MS}ms`, {});
        expect((await shell(id, 'cat /var/lib/mine/file; ls /etc/greeting')).stdout).toBe('kept\n');
        const second = await start({ name: 'second' });
        const look = await shell(second.id, 'ls /var/lib/mine; cat /etc/greeting');
        expect(look.stdout).toBe('hello\n');
      },
      START_MS * 3,
    );
  });

  describe('the network of a guest', () => {
    // Not wget: linked statically, it does without the libraries that it looks for, and crashes.
    const fetchFrom = (id: string, address: string, port: number) =>
      shell(id, `printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 10 ${address} ${port} | tail -n 1`);
    const nothing = { stdout: '' };

    it(
      'reaches what is allowed, and nothing else',
      async () => {
        const { id } = await start({ network: { egress: 'listed', allow: [`${WORLD}:80`] } });
        expect((await fetchFrom(id, WORLD, 80)).stdout).toBe('the world\n');
        expect(await fetchFrom(id, WORLD, 81)).toMatchObject(nothing);
      },
      START_MS * 2,
    );

    it(
      'never reaches the host, this machine or the metadata address of a cloud',
      async () => {
        const { id } = await start({ network: { egress: 'open' } });
        expect((await fetchFrom(id, WORLD, 81)).stdout).toBe('the world\n');
        const { natsPort } = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as {
          natsPort: number;
        };
        await hostShell(fleet.data, 'httpd -p 82 -h /tmp/www');
        for (const [address, port] of [
          ['198.51.100.1', 82],
          ['10.0.2.2', natsPort],
          ['169.254.169.254', 80],
        ] as const) {
          expect(await fetchFrom(id, address, port)).toMatchObject(nothing);
        }
      },
      START_MS * 2,
    );
  });

  describe('each end has a reason of its own:', () => {
    it.each([
      ['poweroff', 'poweroff -f', 'stopped', 'powerOff'],
      ['reboot', 'reboot -f', 'stopped', 'reboot'],
      ['panic', 'echo c >/proc/sysrq-trigger', 'failed', 'panic'],
    ] as const)(
      '%s',
      async (_name, script, state, reason) => {
        const { id } = await start();
        expect((await endOf(id, script, state)).exit).toMatchObject({ reason });
      },
      START_MS * 2,
    );

    it(
      'no memory left in the guest',
      async () => {
        const { id } = await start({
          entrypoint: ['sh', '-c'],
          // Waits until it is asked, then takes more than there is, at once: a guest that grows slowly thrashes first.
          command: [
            `until [ -e /tmp/go ]; do sleep 1; done
             echo 1 >/proc/sys/vm/overcommit_memory
             exec dd if=/dev/zero of=/dev/null bs=1G count=1`,
          ],
        });
        const ended = await endOf(id, 'touch /tmp/go', 'failed');
        expect(ended.exit).toMatchObject({ reason: 'guestOutOfMemory', program: { outOfMemory: true } });
      },
      START_MS * 2,
    );

    it(
      'a program that fails',
      async () => {
        const { id } = await start({ entrypoint: ['sh', '-c'], command: ['sleep 1; exit 3'] });
        expect((await fleet.reaches(id, 'failed', SLOW_MS)).exit).toMatchObject({
          reason: 'programFailed',
          program: { code: 3 },
        });
      },
      START_MS * 2,
    );

    it(
      'a VMM that was killed',
      async () => {
        const { id } = await start();
        const { pid } = await fleet.get(id);
        await hostShell(fleet.data, `kill -9 ${pid}`);
        expect((await fleet.reaches(id, 'failed', SLOW_MS)).exit).toMatchObject({ reason: 'killed' });
      },
      START_MS * 2,
    );
  });

  it.each([
    ['cloud', 'box', 4],
    ['generic', 'box-generic', 1],
    ['generic', 'box-generic', 4],
  ] as const)(
    "Debian's %s kernel (image %s) boots with %i vCPUs",
    async (flavour, image, vcpus) => {
      const { id } = await start({ image, vcpus });
      expect((await shell(id, 'uname -r; nproc')).stdout).toBe(`${kernels[flavour].release}\n${vcpus}\n`);
    },
    START_MS * 2,
  );
});
