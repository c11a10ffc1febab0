import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { Objm } from '@nats-io/obj';
import { BlobStore } from '#images';
import { cachedKernelPackage } from '#kernel-package';
import type { Image, ImageJob, Microvm, VmmChoice } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { belongingsOf, type Belongings } from '../support/host-belongings';
import { REGISTRY_PROGRAMS, startImageRegistry, type ImageRegistry } from '../support/image-registry';
import { artefacts, itWithKvm } from '../support/kvm';
import { busyboxImage, missingProgram, OCI_PROGRAMS } from '../support/oci-image';
import { describeWithAnyVmm } from '../support/vmm-here';
import { mountTightDisk, tightDiskMissing, type TightDisk } from '#chaos';

jest.setTimeout(120_000);

const kernels = join(__dirname, '../../.volley/cache/kernels');
const missing =
  tightDiskMissing() ??
  missingProgram({ ...OCI_PROGRAMS, ip: 'iproute2', nft: 'nftables', unshare: 'util-linux', prlimit: 'util-linux' }) ??
  (cachedKernelPackage({ cacheFolder: kernels }) ? undefined : `no Debian kernel in ${kernels}`);

const HOST_DISK_BYTES = 340 << 20;
const SLOTS = 4;
const program = (name: string, ...args: string[]): string =>
  execFileSync(name, args, { encoding: 'utf8', stdio: 'pipe', timeout: 60_000 });

/** In a mount namespace of its own this machine's KVM looks like one of hardware, so that the host fetches Linux images, too. */
const WITH_HARDWARE_KVM = `
sed 's/^flags.*/& vmx/' /proc/cpuinfo >"$0/cpuinfo" && mount --bind "$0/cpuinfo" /proc/cpuinfo &&
mount -t tmpfs tmpfs /sys/module && exec "$@"`;

const inBadCircumstances = (vmm: VmmChoice): void => {
  let fleet: Fleet;
  let folder: string;
  let disk: TightDisk;
  let before: Belongings;
  const path = process.env['PATH'];
  const at = (name: string): string => join(folder, name);
  const hostd = (): Promise<number> => fleet.pidOf('volley-hostd');

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'volley-bad-'));
    busyboxImage(at('layout'));
    for (const [from, to] of [
      [artefacts.canary, 'canary.bin'],
      [artefacts.canary.replace('canary.bin', 'canary-devices.bin'), 'canary-devices.bin'],
    ] as const) {
      copyFileSync(from, at(to));
      copyFileSync(`${from}.sha256`, at(`${to}.sha256`));
    }
    // No package is looked for in a test: the kernel of the cache is taken.
    mkdirSync(at('bin'));
    writeFileSync(at('bin/apt-cache'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    process.env['PATH'] = `${at('bin')}${delimiter}${path}`;
    fleet = new Fleet(vmm);
    fleet.env = {
      VOLLEY_NETWORK: 'auto',
      VOLLEY_SLOTS: String(SLOTS),
      VOLLEY_WARM_SHELLS: '0',
      VOLLEY_CANARY_PATH: at('canary.bin'),
      VOLLEY_CANARY_DEVICES_PATH: at('canary-devices.bin'),
      // Longer than a registry of a busy machine takes.
      VOLLEY_REGISTRY_SILENCE_S: '8',
    };
    fleet.within = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', WITH_HARDWARE_KVM, folder];
    disk = mountTightDisk(join(fleet.data, 'host'), HOST_DISK_BYTES);
    await fleet.up('--no-canary');
    await fleet.running({ network: {} }).then(({ id }) => remove(id));
  });
  afterAll(async () => {
    process.env['PATH'] = path;
    await fleet?.volley('down');
    disk?.unmount();
    if (fleet) rmSync(fleet.data, { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => (before = await belongingsOf(fleet)));
  // After each: nothing is left, and a microVM starts as ever.
  afterEach(async () => {
    for (const { id } of await fleet.list()) await remove(id); // of a test that failed
    await leavesNothing();
    await remove((await fleet.running({ network: {} })).id);
    await leavesNothing();
  });

  const remove = async (id: string): Promise<void> => {
    const { status } = await fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted&timeout=60s`);
    expect([200, 204]).toContain(status);
  };

  async function leavesNothing(expected = before): Promise<void> {
    let now: Belongings | undefined;
    await until('nothing is left', async () => {
      now = await belongingsOf(fleet);
      return JSON.stringify(now) === JSON.stringify(expected);
    }).catch(() => expect(now).toEqual(expected));
  }

  /** Creates a microVM that fails; gives why, and removes it. */
  const failing = async (spec: object): Promise<string> => {
    const { body } = await fleet.rest<Microvm>('POST', '/v1/microvms', { image: 'canary', memoryMiB: 16, ...spec });
    try {
      return (await fleet.reaches(body.id, 'failed')).reason!;
    } finally {
      await remove(body.id);
    }
  };

  /** What `volley image import` prints when it fails. */
  const refused = async (...args: string[]): Promise<string> => {
    const error = await fleet.volley('image', 'import', ...args).then(
      () => undefined,
      (failure: Error & { stderr: string }) => failure,
    );
    expect(error).toBeDefined();
    expect(error!.stderr.trim().split('\n')).toHaveLength(1);
    return error!.stderr;
  };

  describe('starved by its limits', () => {
    it('of open files: a start fails, says which limit, and leaves nothing', async () => {
      const pid = await hostd();
      const limit = /^Max open files +(\d+) +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))!;
      program('prlimit', `--pid=${pid}`, `--nofile=10:${limit[2]}`);
      try {
        expect(await failing({})).toMatch(/too many open files.*; .*ulimit -n/i);
      } finally {
        program('prlimit', `--pid=${pid}`, `--nofile=${limit[1]}:${limit[2]}`);
      }
      expect(await hostd()).toBe(pid);
    });

    it('of processes: the same', async () => {
      const group = `/sys/fs/cgroup/pids/volley-bad-${process.pid}`;
      if (!existsSync('/sys/fs/cgroup/pids/cgroup.procs'))
        return void process.stderr.write('SKIPPED: starved of processes: no cgroup v1 of pids\n');
      const pid = await hostd();
      mkdirSync(group);
      try {
        writeFileSync(join(group, 'cgroup.procs'), String(pid));
        writeFileSync(join(group, 'pids.max'), readFileSync(join(group, 'pids.current'), 'utf8'));
        expect(await failing({})).toMatch(/Resource temporarily unavailable; .*pids\.max/);
      } finally {
        writeFileSync('/sys/fs/cgroup/pids/cgroup.procs', String(pid));
        rmdirSync(group);
      }
      expect(await hostd()).toBe(pid);
    });
  });

  describe('with a full disk', () => {
    afterEach(() => disk.free());

    it('a disk is refused while there is less room than the host keeps', async () => {
      disk.fill(100 << 20);
      expect(await failing({ disks: [{ sizeMiB: 8 }] })).toMatch(
        /disk of this host is full: (99|100) MiB .*; free some/,
      );
      disk.free();
      await remove((await fleet.running({ disks: [{ sizeMiB: 8 }] })).id);
    });

    it('the journal takes no start, but how others end; who runs goes on', async () => {
      const pid = await hostd();
      const keeper = await fleet.running();
      const victim = await fleet.running();
      disk.fill();
      // So many that their refusals fill what is left of the last page of the journal, too.
      for (const reason of await Promise.all([1, 2, 3, 4].map(() => failing({})))) {
        expect(reason).toMatch(/disk of this host is full: 0 MiB are free at .*; free some/);
      }
      process.kill(fleet.vmms().find(({ microvmId }) => microvmId === victim.id)!.pid, 'SIGKILL');
      expect((await fleet.reaches(victim.id, 'failed')).reason).toContain('killed from outside');
      await remove(victim.id);
      expect(await hostd()).toBe(pid);
      expect(await fleet.get(keeper.id)).toMatchObject({ state: 'running', pid: keeper.pid });
      disk.free();
      await remove((await fleet.running()).id);
      expect(await fleet.get(keeper.id)).toMatchObject({ state: 'running', pid: keeper.pid });
      await remove(keeper.id);
    });
  });

  describe('without taps', () => {
    it('more microVMs than slots: the next one says what is missing, and starts when there is room', async () => {
      const all = await Promise.all(Array.from({ length: SLOTS }, () => fleet.running({ network: {} })));
      const { body } = await fleet.rest<Microvm>('POST', '/v1/microvms', {
        image: 'canary',
        memoryMiB: 16,
        network: {},
      });
      await until('it says why it waits', async () => (await fleet.get(body.id)).reason !== null);
      expect((await fleet.get(body.id)).reason).toMatch(/slots \(1\); .*: 0 free; delete microVMs, raise VOLLEY_SLOTS/);
      await remove(all.pop()!.id);
      await fleet.reaches(body.id, 'running');
      for (const { id } of [...all, body]) await remove(id);
    });

    it('somebody has removed them: they are made anew, with their addresses', async () => {
      const pid = await hostd();
      const ip = (...words: string[]): string =>
        program('nsenter', `--mount=/proc/${pid}/ns/mnt`, '/usr/sbin/ip', '-n', before.namespaces[0]!, ...words);
      expect(before.taps).toHaveLength(SLOTS);
      for (const tap of before.taps) ip('link', 'del', tap);
      const all = await Promise.all(before.taps.map(() => fleet.running({ network: {} })));
      const links = JSON.parse(ip('-j', 'addr', 'show')) as { ifname: string; addr_info: { local: string }[] }[];
      const addresses = links.filter(({ ifname }) => /^vt/.test(ifname)).flatMap(({ addr_info }) => addr_info);
      expect(addresses.map(({ local }) => local).sort()).toEqual(all.map(({ network }) => network!.gateway).sort());
      for (const { id } of all) await remove(id);
    });

    it('/dev/net/tun does not work: a start with a network fails and says so, one without runs', async () => {
      const pid = await hostd();
      const inside = (...words: string[]) => program('nsenter', `--mount=/proc/${pid}/ns/mnt`, ...words);
      inside('mount', '--bind', '/dev/null', '/dev/net/tun');
      try {
        expect(await failing({ network: {} })).toMatch(/cannot open the tap vt\d: .*; .*tun/);
        await remove((await fleet.running()).id);
      } finally {
        inside('umount', '/dev/net/tun');
      }
    });
  });

  describe('with a damaged image', () => {
    let image: Image;

    it('built in: a start names the file and its digests', async () => {
      const whole = readFileSync(at('canary.bin'));
      const damaged = Buffer.from(whole);
      damaged[whole.length >> 1]! ^= 0xff;
      writeFileSync(at('canary.bin'), damaged);
      expect(await failing({})).toMatch(/canary\.bin is damaged: .*sha256.*\.\/volley build/);
      writeFileSync(at('canary.bin'), whole.subarray(0, 100));
      expect(await failing({})).toMatch(/canary\.bin is damaged/);
      writeFileSync(at('canary.bin'), whole);
    });

    itWithKvm('in the store: a host does not start it, a full disk is told; importing it again mends it', async () => {
      const { stdout } = await fleet.volley('image', 'import', at('layout'), '--name', 'box:1', '--json');
      image = (JSON.parse(stdout) as ImageJob).image!;
      before = { ...before, chunks: (await belongingsOf(fleet)).chunks };
      if (image.manifest.kind !== 'linux') throw new Error('no Linux image');
      const { root, kernel } = image.manifest;
      const spec = { image: 'box:1', memoryMiB: 256 };
      // Not even the kernel has room.
      disk.fill(20 << 20);
      expect(await failing(spec)).toMatch(/box:1: no room on the disk .*; free some/);
      disk.free();
      const nats = await fleet.nats('images');
      try {
        const subject = `$O.blobs.C.${(await (await new Objm(nats).open('blobs')).info(root.blob.digest))!.nuid}`;
        const jsm = await jetstreamManager(nats);
        const chunk = (await jsm.streams.getMessage('OBJ_blobs', { last_by_subj: subject }))!;
        await jsm.streams.deleteMessage('OBJ_blobs', chunk.seq);
        expect(await failing(spec)).toMatch(/box:1: .*damaged in the image store; import it again/);
        const flipped = Buffer.from(chunk.data);
        flipped[7]! ^= 0xff;
        nats.publish(subject, flipped);
        await nats.flush();
        expect(await failing(spec)).toMatch(/box:1: .*damaged in the image store; import it again/);
        // A file of the host's own is damaged while its agent does not look: the kernel, which had come by then.
        const cached = join(fleet.data, 'host/images/blobs', kernel.vmlinux.digest.slice('sha256:'.length));
        const content = readFileSync(cached);
        const [good, bad] = [Buffer.from(content), content];
        bad[bad.length >> 1]! ^= 0xff;
        chmodSync(cached, 0o600);
        writeFileSync(cached, bad);
        const pid = await fleet.kill9('volley-hostd');
        await until('another agent', async () => (await hostd()) !== pid);
        expect(await failing(spec)).toMatch(/damaged in the image store/);
        expect(readFileSync(cached).equals(good)).toBe(true);
        const said = 'a file of an image was damaged; it is fetched again';
        await until('the agent says so', () => Promise.resolve(fleet.logs(1_000).includes(said)));
        await fleet.volley('image', 'import', at('layout'), '--name', 'box:1');
        expect(await (await BlobStore.open(nats)).isWhole(root.blob.digest)).toBe(true);
      } finally {
        await nats.close();
      }
    });
  });

  describe('imports', () => {
    it('of another digest than the expected one are refused, with both digests', async () => {
      const digest = `sha256:${'0'.repeat(64)}`;
      const said = await refused(at('layout'), '--name', 'bad', '--digest', digest);
      expect(said).toMatch(/bad was not imported: .*has the digest sha256:[0-9a-f]{64}.*, not sha256:0{64}/);
    });

    it('of a layout somebody has tampered with are refused', async () => {
      program('cp', '-r', at('layout'), at('tampered'));
      const blobs = join(at('tampered'), 'blobs/sha256');
      const [largest] = readdirSync(blobs).sort((a, b) => sizeOf(join(blobs, b)) - sizeOf(join(blobs, a)));
      const content = readFileSync(join(blobs, largest!));
      content[content.length >> 1]! ^= 0xff;
      writeFileSync(join(blobs, largest!), content);
      expect(await refused(at('tampered'), '--name', 'bad')).toMatch(/not imported: the image is damaged/);
    });

    it('for another architecture are refused, with both', async () => {
      busyboxImage(at('arm'), { architecture: 'arm64' });
      expect(await refused(at('arm'), '--name', 'bad')).toMatch(/not imported: .*linux\/arm64.*linux\/amd64/);
    });

    it('from a registry that is down, or says nothing, end and say so', async () => {
      const silent = await listening();
      const { port } = silent.address() as { port: number };
      const reference = `127.0.0.1:${port}/team/box:1`;
      try {
        expect(await refused(reference)).toMatch(/did not answer within 8 s; check that it works/);
      } finally {
        silent.close();
      }
      expect(await refused(reference)).toMatch(/registry cannot be reached.*connection refused/);
    });

    const noRegistry = missingProgram(REGISTRY_PROGRAMS);
    if (noRegistry) process.stderr.write(`SKIPPED: imports from a registry that refuses: ${noRegistry}\n`);
    (noRegistry ? it.skip : it)(
      'from a registry that is not trusted, or does not trust us, say what to give',
      async () => {
        const registry: ImageRegistry = await startImageRegistry();
        try {
          const name = `${registry.name}/team/box:1`;
          writeFileSync(at('ca.pem'), registry.caPem);
          writeFileSync(at('password'), registry.password);
          writeFileSync(at('guess'), 'guess');
          const as = (password: string) => ['--username', registry.username, '--password-file', at(password)];
          expect(await refused(name, ...as('password'))).toMatch(
            /certificate is not trusted; give its certificate authority/,
          );
          expect(await refused(name, '--ca', at('ca.pem'), ...as('guess'))).toMatch(/refuses these credentials; give/);
          expect(await refused(name, '--ca', at('ca.pem'), ...as('password'))).toMatch(/no such image; check its name/);
        } finally {
          await registry.stop();
        }
      },
    );
  });
};

describeWithAnyVmm('in bad circumstances', inBadCircumstances, missing);

function sizeOf(path: string): number {
  return readFileSync(path).length;
}

/** A server that accepts and never answers. */
async function listening(): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
