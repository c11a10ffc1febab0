import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchKernelPackageSync, type KernelPackage } from '#kernel-package';
import type { Microvm, MicrovmSpecInput, MicrovmStateName, Template } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { natsServerMissing } from '../support/nats-server';
import { busyboxImage, missingProgram, OCI_PROGRAMS } from '../support/oci-image';
import { describeUnless } from '../support/skip-aloud';
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
       for port in 80 81; do ip netns exec world httpd -p $port -h /tmp/www; done`,
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

  const create = async (spec: Partial<MicrovmSpecInput>): Promise<string> => {
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
    return created.body.id;
  };
  const start = async (spec: Partial<MicrovmSpecInput> = {}): Promise<Microvm> =>
    fleet.reaches(await create(spec), 'running', START_MS);
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
    const fetchFrom = (id: string, address: string, port: number, seconds: number) =>
      shell(id, `printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w ${seconds} ${address} ${port} | tail -n 1`);
    const answer = async (...from: [id: string, address: string, port: number]) =>
      (await fetchFrom(...from, 100)).stdout;
    /** What does not come in this time does not come at all: an answer takes less than one second. */
    const silence = async (...from: [id: string, address: string, port: number]) =>
      (await fetchFrom(...from, 10)).stdout;

    it(
      'reaches what is allowed, and nothing else',
      async () => {
        const { id } = await start({ network: { egress: 'listed', allow: [`${WORLD}:80`] } });
        expect(await answer(id, WORLD, 80)).toBe('the world\n');
        expect(await silence(id, WORLD, 81)).toBe('');
      },
      START_MS * 2,
    );

    it(
      'never reaches the host, this machine or the metadata address of a cloud',
      async () => {
        const { id } = await start({ network: { egress: 'open' } });
        expect(await answer(id, WORLD, 81)).toBe('the world\n');
        const { natsPort } = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as {
          natsPort: number;
        };
        await hostShell(fleet.data, 'httpd -p 82 -h /tmp/www');
        for (const [address, port] of [
          ['198.51.100.1', 82],
          ['10.0.2.2', natsPort],
          ['169.254.169.254', 80],
        ] as const) {
          expect(await silence(id, address, port)).toBe('');
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
        const id = await create({ entrypoint: ['sh', '-c'], command: ['sleep 1; exit 3'] });
        expect((await fleet.reaches(id, 'failed', START_MS)).exit).toMatchObject({
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

  describe('clones', () => {
    /** Notes without end who it is and a random number, as fast as it can without taking all of the host's processor. */
    const NOTES = `while :; do
      read name </proc/sys/kernel/hostname; read number </proc/sys/kernel/random/uuid
      echo "$name $number" >>/tmp/notes; usleep 20000
    done`;
    const TRACING = '/sys/kernel/tracing';
    const network = { egress: 'listed' as const, allow: [`${WORLD}:80`] };
    const made: string[] = [];
    let template: Template;
    let source: Microvm;
    let clones: Microvm[];

    beforeAll(async () => {
      const disks = [{ sizeMiB: 8, mount: '/data' }, { sizeMiB: 8 }];
      const fresh = [disks[0]!, { sizeMiB: 16, fresh: 'ext4' }];
      const program = { entrypoint: ['sh', '-c'], command: [NOTES] };
      source = await start({ name: 'source', ...program, network, rootDiskMiB: 64, disks });
      // Its kernel remembers the zeros that are on the disk which nobody uses.
      await shell(source.id, 'dd if=/dev/vdd of=/dev/null bs=64k');
      made.push(...mine.splice(0));
      // It stands far in the past, so that a clone's clock is right only if it was set.
      await shell(source.id, 'date -s @1000000000; until [ -s /tmp/notes ]; do sleep 0.1; done');
      // Its kernel notes in memory, and so in that of each clone, who has it seed its random numbers anew (RNDRESEEDCRNG).
      const traced = `mount -t tracefs none ${TRACING} && cd ${TRACING}/events/syscalls/sys_enter_ioctl &&
        echo 'cmd == 0x5207' >filter && echo 1 >enable`;
      expect(await shell(source.id, traced)).toMatchObject({ exitCode: 0, stderr: '' });
      const asked = await fleet.rest<Template>('POST', '/v1/templates', { microvmId: source.id });
      expect(asked.status).toBe(202);
      const path = `/v1/templates/${asked.body.id}`;
      const now = async (): Promise<Template> => (template = (await fleet.rest<Template>('GET', path)).body);
      await until('there is a template', async () => (await now()).state !== 'creating', SLOW_MS);
      expect(template).toMatchObject({ state: 'ready', reason: null, unusedDisks: [1] });
      clones = [];
      for (const name of ['one', 'two']) {
        const { status, body } = await fleet.rest<Microvm>('POST', `/v1/microvms?wait=running&timeout=${START_MS}ms`, {
          template: template.id,
          name,
          network,
          ...(name === 'two' ? { disks: fresh } : {}),
        });
        made.push(body.id);
        expect([status, body.state, body.reason]).toEqual([201, 'running', null]);
        clones.push(body);
      }
    }, START_MS * 2);
    afterAll(async () => {
      for (const id of made) await remove(id);
      await fleet.rest('DELETE', `/v1/templates/${template?.id}`);
    }, SLOW_MS);

    const everywhere = (script: string): Promise<string[]> =>
      Promise.all([source, ...clones].map(async ({ id }) => (await shell(id, script)).stdout.trim()));
    const distinct = (values: readonly unknown[]): number => new Set(values).size;

    it('have names, MACs, addresses and generation ids of their own, and the network knows them', async () => {
      expect(await everywhere('hostname; cat /etc/hostname')).toEqual(['source\nsource', 'one\none', 'two\ntwo']);
      const networks = [source, ...clones].map((microvm) => microvm.network!);
      expect(distinct(networks.map(({ mac }) => mac))).toBe(3);
      expect(await everywhere('cat /sys/class/net/eth0/address')).toEqual(networks.map(({ mac }) => mac));
      const addresses = "ip -4 -o addr show eth0 | sed 's/.*inet //; s,/.*,,'";
      expect(await everywhere(addresses)).toEqual(networks.map(({ address }) => address));
      const generation = 'dd if=/dev/mem bs=16 skip=65280 count=1 2>/dev/null | od -An -tx1';
      expect(distinct(await everywhere(generation))).toBe(3);
      const fetched = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 100 198.51.100.10 80 | tail -n 1";
      expect(await everywhere(fetched)).toEqual(['the world', 'the world', 'the world']);
    });

    it('have another disk where that was asked for, as large as it is and with what is on it', async () => {
      expect(await everywhere('cat /sys/block/vdc/size')).toEqual(['16384', '16384', '16384']);
      expect(await everywhere('cat /sys/block/vdd/size')).toEqual(['16384', '16384', '32768']);
      const mounts =
        'mkdir -p /mnt; mount -t ext4 /dev/vdd /mnt 2>/dev/null && touch /mnt/mine && ls /mnt/mine || echo none';
      expect(await everywhere(mounts)).toEqual(['none', 'none', '/mnt/mine']);
    });

    it('have the right time, and go on as many programs as there were', async () => {
      const [old, ...right] = (await everywhere('date +%s')).map(Number);
      expect(old).toBeLessThan(1_000_100_000);
      for (const seconds of right) expect(Math.abs(seconds * 1000 - Date.now())).toBeLessThan(SLOW_MS);
      // Those that init has started: what a shell forks on the way to another program is called by its name for a moment.
      expect(await everywhere("cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' (sh) [A-Z] 1 '")).toEqual(['1', '1', '1']);
    });

    // A kernel seeds its random numbers anew by itself, too: a young one after seconds, which in here have always passed. Where they
    // have not, the numbers differ because of what init has asked of it.
    it('draw no random number twice, which init sees to', async () => {
      const asked = await everywhere(`sed '/^#/d' ${TRACING}/trace`);
      expect(asked).toEqual(['', ...Array<unknown>(2).fill(expect.stringMatching(/^ *init-\d+ .*cmd: 5207.*$/))]);
      const notes = (await everywhere('cat /tmp/notes')).map((text) => text.split('\n').map((line) => line.split(' ')));
      const numbersOf = (which: number, name: string): string[] =>
        notes[which]!.filter(([by]) => by === name).map(([, number]) => number!);
      const [one, two] = [numbersOf(1, 'one'), numbersOf(2, 'two')];
      expect(Math.min(one.length, two.length)).toBeGreaterThan(3);
      const all = [...numbersOf(0, 'source'), ...one, ...two];
      expect(distinct(all)).toBe(all.length);
      // Nothing was noted in the template's name after it was held, but for a note that was half written.
      const before = [numbersOf(1, 'source'), numbersOf(2, 'source')].map(({ length }) => length);
      expect(Math.abs(before[0]! - before[1]!)).toBeLessThanOrEqual(1);
      expect(before[0]).toBeGreaterThan(0);
    });
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
