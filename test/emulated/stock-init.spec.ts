import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCpioArchive, type ArchiveEntry } from '#cpio';
import { EmulatedHost, programFiles } from '#emulated-host';
import {
  encodeEntry,
  encodeExec,
  encodeFrame,
  FrameDecoder,
  GUEST_FRAME,
  initrdExtra,
  type GuestFrame,
  type InitConfig,
} from '#guest';
import { kernelModules } from '#kernel-package';
import { describeUnless } from '../support/skip-aloud';
import { microvmRun, type MicrovmRun } from './microvm-report';
import { findNativeBuild } from './native-build';
import { emulatedHostTools } from './tools';
import { findProgram, missingProgram } from '../support/oci-image';

const GUEST_SECONDS = '150';
const WHOLE_DEADLINE_MS = 1_200_000;
const HOST_MODULES = ['tun'];
/** As the image service chooses them. */
const GUEST_MODULES = [
  ...['virtio_mmio', 'virtio_blk', 'overlay', 'squashfs', 'crc32c_generic', 'ext4', 'virtio_net'],
  ...['vsock', 'vmw_vsock_virtio_transport', 'pvpanic-mmio', 'button'],
];
const CMDLINE = 'console=ttyS0 reboot=k panic=-1 quiet mitigations=off';
/** The guest had been told to end. */
const ASKED = 0x80_0000;
const [EXITED, SIGNALED, OOM, NOT_STARTED] = [1, 2, 3, 4].map((kind) => (kind << 24) >>> 0) as [
  number,
  number,
  number,
  number,
];

const found = emulatedHostTools();
const build = findNativeBuild();
const init = join(__dirname, '../../native/build/guest/init');
const obstacle =
  (found.available ? undefined : found.reason) ??
  (typeof build === 'string' ? build : undefined) ??
  (fs.existsSync(init) ? undefined : `${init} is missing; run \`npm run build:native\``) ??
  missingProgram({ mksquashfs: 'squashfs-tools', 'mkfs.ext4': 'e2fsprogs', socat: 'socat' });

interface Guest {
  config: InitConfig;
  /** Writable layer and further disk are there when they are named. */
  overlay?: string;
  data?: string;
  network?: boolean;
  vsock?: boolean;
  more?: string[];
  /** Lines of shell for the host while the guest runs. */
  meanwhile?: string[];
}

const NET = { mac: '02:00:00:00:00:01', address: '172.31.0.3', prefix: 31, gateway: '172.31.0.2' };
const sh = (script: string): string[] => ['/bin/sh', '-c', script];
const waiting = 'trap "echo it got TERM; exit 3" TERM; echo it waits; while :; do sleep 0.2; done';

const GUESTS: Record<string, Guest> = {
  whole: {
    config: {
      args: sh(
        [
          'echo "id $(id -u) $(id -g) $(id -G)"; echo "home $HOME path $PATH word $WORD"; pwd; hostname; tty',
          'echo kept > /home/app/persist && echo "wrote $(cat /home/app/persist)"; touch /home/app/tmp-of-run',
          'df / /data /run | sed "s/ .* / /"; ls -ld /run/app /run/lock; ls /run /volley 2>&1; cat /etc/hosts /etc/resolv.conf',
          'ip addr show eth0; ip route',
          'cat /proc/1/comm; exit 7',
        ].join('\n'),
      ),
      env: ['WORD=two words', 'PATH=/bin'],
      user: 'app',
      workdir: '/srv/made',
      hostname: 'whole-guest',
      interfaces: [NET],
      dns: ['192.0.2.53'],
      mounts: [{ device: '/dev/vdc', path: '/data', type: 'ext4', readOnly: false }],
      time: 1_900_000_000,
    },
    overlay: '/overlay-1',
    data: '/data-1',
    network: true,
  },
  again: {
    config: {
      args: sh(
        'echo "found $(cat /home/app/persist) and $(ls -ld /data/lost+found | wc -l)"; ls /run/stale; date +%Y; ping -c 2 -W 5 172.31.0.2 | grep received; dmesg | grep -i -E "recover|error" ; poweroff; sleep 100',
      ),
      mounts: [{ device: '/dev/vdc', path: '/data', type: 'ext4', readOnly: false }],
      interfaces: [NET],
      time: 1_900_000_000,
    },
    overlay: '/overlay-1',
    data: '/data-1',
    network: true,
  },
  fresh: { config: { args: sh('cat /home/app/persist; touch /lost && echo writable; kill -9 $$') } },
  missing: { config: { args: ['/no/such/program'] } },
  stranger: { config: { args: ['/bin/true'], user: 'nobody-knows' } },
  'no-disk': { config: { args: ['/bin/true'], overlay: '/dev/vdz' } },
  'bad-disk': { config: { args: ['/bin/true'] }, overlay: '/zeros' },
  button: { config: { args: sh(waiting) }, more: ['--power-button-on', 'it waits'] },
  keyboard: { config: { args: sh(waiting) }, more: ['--ctrl-alt-del-on', 'it waits'] },
  stubborn: {
    config: { args: sh('trap "" TERM; echo it waits; while :; do sleep 0.2; done'), graceMs: 500 },
    more: ['--power-button-on', 'it waits'],
  },
  hungry: {
    config: {
      args: sh('echo 1 > /proc/sys/vm/overcommit_memory; exec dd if=/dev/zero of=/dev/null bs=1G count=1'),
    },
  },
  reboot: { config: { args: sh('reboot; sleep 100') } },
  panic: { config: { args: sh('echo c > /proc/sysrq-trigger; sleep 100') } },
  agent: {
    config: { args: sh('echo it waits; exit 5'), env: ['FROM_IMAGE=yes'], onExit: 'stay' },
    vsock: true,
    meanwhile: [
      // The first answer says that it is up.
      'until ask ping; do sleep 1; done',
      ...['exec', 'tty', 'put', 'get', 'clock', 'loopback', 'shutdown'].map((name) => `ask ${name}`),
    ],
  },
};

/** Frames that the host sends, each file one exchange. */
function exchanges(): Record<string, Buffer> {
  const exec = (command: string[], more = {}): Buffer =>
    encodeFrame(GUEST_FRAME.exec, encodeExec({ command, ...more }));
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE(1_950_000_000_000_000_000n);
  const entry = { kind: 'file' as const, path: 'x', mode: 0o640, uid: 7, gid: 8, size: 5, modified: 1_000, target: '' };
  return {
    ping: encodeFrame(GUEST_FRAME.ping),
    exec: Buffer.concat([
      exec(sh('cat; echo "$FROM_IMAGE $(hostname)" >&2; ls -l /srv/put; date +%Y; exit 9'), { stdin: true }),
      encodeFrame(GUEST_FRAME.stdin, Buffer.from('input of it\n')),
      encodeFrame(GUEST_FRAME.stdin),
    ]),
    tty: exec(sh('tty; stty size; echo hello > /dev/tty'), { tty: { rows: 12, columns: 34 } }),
    put: Buffer.concat([
      encodeFrame(GUEST_FRAME.put, Buffer.from('/srv/put')),
      encodeFrame(GUEST_FRAME.entry, encodeEntry(entry)),
      encodeFrame(GUEST_FRAME.data, Buffer.from('12345')),
      encodeFrame(GUEST_FRAME.end),
    ]),
    get: encodeFrame(GUEST_FRAME.get, Buffer.from('/srv/put')),
    clock: encodeFrame(GUEST_FRAME.clock, time),
    loopback: exec(sh('ls -l /srv/put; date +%Y; /run/volley/metadata 2>&1')),
    shutdown: encodeFrame(GUEST_FRAME.shutdown, Buffer.from([0])),
  };
}

function runOf(name: string, { overlay, data, network, vsock, more = [], meanwhile = [] }: Guest): string {
  const argv = [
    ...['--kernel', '/vmlinuz', '--initrd', '/guest.cpio', '--initrd-extra', `/extra/${name}`, '--cmdline', CMDLINE],
    ...['--memory', '192', '--timeout', GUEST_SECONDS, '--read-only-disk', '/root.squashfs'],
    ...(overlay ? ['--disk', overlay] : []),
    ...(data ? ['--disk', data] : []),
    ...(network ? ['--tap', 'tap0'] : []),
    ...(vsock ? ['--vsock', '/vsock.sock'] : []),
    ...more,
  ];
  const quoted = argv.map((word) => `'${word}'`).join(' ');
  return [
    `volley-run --vmm /bin/volley-vmm ${quoted} > /output 2>&1 & running=$!`,
    ...meanwhile,
    'wait $running',
    `echo "microvm: ${name} starts"; cat /output; echo "microvm: ${name} is over"`,
  ].join('\n');
}

/** The root file system that all guests share, as an image would have it. */
function imageOf(folder: string, busybox: string): string {
  const root = join(folder, 'root');
  for (const path of ['bin', 'etc', 'home/app', 'run/app', 'run/lock', 'tmp', 'usr/bin', 'usr/sbin', 'sbin']) {
    fs.mkdirSync(join(root, path), { recursive: true });
  }
  fs.copyFileSync(busybox, join(root, 'bin/busybox'));
  fs.chmodSync(join(root, 'bin/busybox'), 0o755);
  for (const name of execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    if (name !== 'busybox') fs.symlinkSync('busybox', join(root, 'bin', name));
  }
  fs.writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n');
  fs.writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1001:\nstaff:x:50:app\n');
  fs.writeFileSync(join(root, 'run/stale'), 'of the image');
  const image = join(folder, 'root.squashfs');
  // Owners: /home/app and /run/app belong to the user, everything else to root.
  const pseudo = ['home/app m 755 1000 1001', 'run/app m 750 1000 1001', 'run/lock m 1777 0 0'];
  execFileSync(
    findProgram('mksquashfs')!,
    [root, image, '-comp', 'gzip', '-quiet', '-no-progress', ...pseudo.flatMap((line) => ['-p', line])],
    { stdio: 'pipe', timeout: 60_000 },
  );
  return image;
}

describeUnless(obstacle, "init on the distribution's kernel", () => {
  let host: EmulatedHost | undefined;
  let folder: string | undefined;
  const runs = (name: string): MicrovmRun => microvmRun(host!.console, name);

  beforeAll(async () => {
    if (!found.available || typeof build === 'string') return;
    const { tools } = found;
    const place = fs.mkdtempSync(join(tmpdir(), 'volley-stock-init-'));
    folder = place;
    const modules = kernelModules(tools.kernel, GUEST_MODULES).map(({ name, content }) => ({
      path: `/volley/modules/${name}.ko`,
      content,
    }));
    const guest = join(place, 'guest.cpio');
    writeCpioArchive(guest, [
      { path: '/init', mode: 0o755, from: init },
      { path: '/dev/console', characterDevice: { major: 5, minor: 1 } },
      ...modules,
    ]);
    const extras = Object.entries(GUESTS).map(([name, { config, overlay }]): ArchiveEntry => {
      const whole: InitConfig = {
        root: { device: '/dev/vda', type: 'squashfs' },
        modules: modules.map(({ path }) => path),
        ...(overlay ? { overlay: '/dev/vdb' } : {}),
        ...config,
      };
      return { path: `/extra/${name}`, content: initrdExtra(whole) };
    });
    for (const name of ['overlay-1', 'data-1']) {
      fs.truncateSync((fs.writeFileSync(join(place, name), ''), join(place, name)), 16 << 20);
      execFileSync(findProgram('mkfs.ext4')!, ['-q', '-F', '-m', '0', join(place, name)], { stdio: 'pipe' });
    }
    const image = imageOf(place, tools.busybox);
    const hostModules = kernelModules(tools.kernel, HOST_MODULES);
    host = EmulatedHost.start(tools, {
      memoryMiB: 1024,
      files: [
        { path: '/bin/volley-vmm', mode: 0o755, from: build.vmm },
        { path: '/bin/volley-run', mode: 0o755, from: build.run },
        { path: '/vmlinuz', from: tools.kernel.image },
        { path: '/guest.cpio', from: guest },
        { path: '/root.squashfs', from: image },
        { path: '/overlay-1', from: join(place, 'overlay-1') },
        { path: '/data-1', from: join(place, 'data-1') },
        ...extras,
        ...Object.entries(exchanges()).map(([name, content]) => ({ path: `/asks/${name}`, content })),
        ...programFiles(findProgram('socat')!),
        ...hostModules.map(({ name, content }) => ({ path: `/host-modules/${name}.ko`, content })),
      ],
      script: [
        ...hostModules.map(({ name }) => `insmod /host-modules/${name}.ko`),
        'mkdir -p /dev/net; [ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200',
        'truncate -s 4M /zeros; tunctl -t tap0; ip addr add 172.31.0.2/31 dev tap0; ip link set tap0 up',
        // One exchange; what came goes to the console.
        'ask() { { echo "CONNECT 1024"; cat /asks/$1; } > /question',
        '  socat -T60 -,ignoreeof UNIX-CONNECT:/vsock.sock < /question > /answer 2>/dev/null',
        '  grep -q ^OK /answer || return 1',
        '  echo "answer to $1: $(tail -c +$(($(head -n 1 /answer | wc -c) + 1)) /answer | base64 -w 0)"; }',
        ...Object.entries(GUESTS).map(([name, guestOf]) => runOf(name, guestOf)),
      ].join('\n'),
      lifetimeMs: WHOLE_DEADLINE_MS,
    });
    await host.scriptStatus(WHOLE_DEADLINE_MS);
  }, WHOLE_DEADLINE_MS + 10_000);

  afterAll(async () => {
    if (process.env['VOLLEY_KEEP_CONSOLE']) fs.writeFileSync(process.env['VOLLEY_KEEP_CONSOLE'], host?.console ?? '');
    await host?.stop();
    if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true });
  });

  it("runs the program as its user, in its folder, with the image's files, and tells its exit code", () => {
    const { console, report } = runs('whole');
    expect(console).toContain('id 1000 1001 1001 50');
    expect(console).toContain('home /home/app path /bin word two words');
    expect(console).toMatch(/^\/srv\/made\r?$/m);
    expect(console).toMatch(/^whole-guest\r?$/m);
    expect(console).toContain('/dev/ttyS0');
    expect(console).toContain('wrote kept');
    expect(console).toMatch(/^overlay .*\/\r?$/m);
    expect(console).toMatch(/^\/dev\/vdc .*\/data\r?$/m);
    expect(console).toContain('init: the program exited with code 7');
    expect(report).toMatchObject({ exit: 'POWER_OFF', status: 0, guestReport: EXITED | 7 });
    expect(report.bootedUs).toBeGreaterThan(0);
  });

  it('makes /run anew with the folders of the image, and leaves nothing of the ram disk', () => {
    const { console } = runs('whole');
    expect(console).toMatch(/^drwxr-x--- .* 1000 +1001 .*\/run\/app\r?$|^drwxr-x--- .* app +app .*\/run\/app\r?$/m);
    expect(console).toMatch(/^drwxrwxrwt .*\/run\/lock\r?$/m);
    expect(console).toContain('ls: /volley: No such file or directory');
    expect(runs('again').console).toContain('ls: /run/stale: No such file or directory');
  });

  it('sets up names and the network', () => {
    const { console } = runs('whole');
    expect(console).toContain('172.31.0.3\twhole-guest');
    expect(console).toContain('nameserver 192.0.2.53');
    expect(console).toContain('inet 172.31.0.3/31');
    expect(console).toMatch(/default via 172\.31\.0\.2 dev eth0/);
    expect(runs('again').console).toContain('2 packets received');
  });

  it('keeps what was written from start to start, and leaves file systems in order', () => {
    const { console, report } = runs('again');
    expect(console).toContain('found kept and 1');
    expect(console).not.toMatch(/recover|EXT4-fs error/i);
    // Told 2030; the host's clock is older than that.
    expect(console).toMatch(/^2030\r?$/m);
    // Ended by busybox's poweroff, so its shell by SIGTERM.
    expect(report).toMatchObject({ exit: 'POWER_OFF', status: 0, guestReport: SIGNALED | ASKED | 15 });
  });

  it('throws writes away where there is no writable disk', () => {
    const { console, report } = runs('fresh');
    expect(console).toContain("can't open '/home/app/persist'");
    expect(console).toContain('writable');
    expect(report).toMatchObject({ exit: 'POWER_OFF', guestReport: SIGNALED | 9 });
  });

  it('says what could not be started', () => {
    expect(runs('missing').console).toContain('/no/such/program: there is no such program');
    expect(runs('missing').report).toMatchObject({ exit: 'POWER_OFF', guestReport: NOT_STARTED | 2 });
    expect(runs('stranger').console).toContain('no user "nobody-knows"');
    expect(runs('stranger').report).toMatchObject({ exit: 'POWER_OFF', guestReport: NOT_STARTED | 22 });
    expect(runs('no-disk').console).toContain('/dev/vdz did not come up');
    expect(runs('no-disk').report).toMatchObject({ exit: 'POWER_OFF', guestReport: NOT_STARTED | 19 });
    expect(runs('bad-disk').console).toContain('cannot mount /dev/vdb as ext4');
    expect(runs('bad-disk').report).toMatchObject({ exit: 'POWER_OFF', guestReport: NOT_STARTED | 22 });
  });

  it('hears the power button and Ctrl-Alt-Del, and lets the program end in order', () => {
    for (const name of ['button', 'keyboard']) {
      expect(runs(name).console).toContain('it got TERM');
      expect(runs(name).report).toMatchObject({ exit: 'POWER_OFF', guestReport: EXITED | ASKED | 3 });
    }
    expect(runs('stubborn').console).toContain('did not end within 500 ms and is killed');
    expect(runs('stubborn').report).toMatchObject({ exit: 'POWER_OFF', guestReport: SIGNALED | ASKED | 9 });
  });

  it('tells want of memory, reboots and panics apart', () => {
    expect(runs('hungry').report).toMatchObject({ exit: 'POWER_OFF', guestReport: OOM });
    expect(runs('reboot').report).toMatchObject({ exit: 'REBOOT' });
    expect(runs('panic').report).toMatchObject({ exit: 'PANIC' });
  });

  describe('answers the host over vsock', () => {
    const answer = (name: string): GuestFrame[] => {
      const bytes = new RegExp(`^answer to ${name}: (\\S*)\r?$`, 'm').exec(host!.console)?.[1];
      if (bytes === undefined) throw new Error(`no answer to ${name}:\n${host!.console.slice(-5_000)}`);
      return new FrameDecoder().push(Buffer.from(bytes, 'base64'));
    };
    const textOf = (name: string, type: number): string =>
      answer(name)
        .filter((frame) => frame.type === type)
        .map(({ body }) => body.toString())
        .join('');
    const numbers = ({ body }: GuestFrame): number[] => [
      body.readUInt32LE(0),
      body.length > 4 ? body.readUInt32LE(4) : 0,
    ];

    it('with commands and terminals', () => {
      const frames = answer('exec');
      expect(frames[0]!.type).toBe(GUEST_FRAME.started);
      expect(numbers(frames.at(-1)!)).toEqual([9, 0]);
      expect(textOf('exec', GUEST_FRAME.stdout)).toContain('input of it\n');
      expect(textOf('exec', GUEST_FRAME.stderr)).toContain('yes ');
      expect(textOf('tty', GUEST_FRAME.stdout)).toBe('/dev/pts/0\r\n12 34\r\nhello\r\n');
    });

    it('with files', () => {
      expect(numbers(answer('put')[0]!)[0]).toBe(0);
      expect(answer('get').map(({ type }) => type)).toEqual([GUEST_FRAME.entry, GUEST_FRAME.data, GUEST_FRAME.end]);
      expect(textOf('get', GUEST_FRAME.data)).toBe('12345');
      expect(textOf('loopback', GUEST_FRAME.stdout)).toMatch(/-rw-r----- +1 7 +8 +5 .* \/srv\/put/);
    });

    it('with its clock, and to the end', () => {
      expect(numbers(answer('clock')[0]!)[0]).toBe(0);
      expect(textOf('loopback', GUEST_FRAME.stdout)).toMatch(/^2031$/m);
      // Nobody serves metadata here, and that is what it says.
      expect(textOf('loopback', GUEST_FRAME.stdout)).toContain('metadata: the host does not answer');
      const { console, report } = runs('agent');
      expect(console).toContain('the program exited with code 5');
      expect(report).toMatchObject({ exit: 'POWER_OFF', status: 0, guestReport: EXITED | 5 });
    });
  });

  it('says nothing else', () => {
    const said = host!.console.match(/^init: .*$/gm)!.map((line) => line.trim());
    const expected = /the program |there is no such program|no user|did not (come up|end)|cannot mount \/dev\/vdb/;
    expect(said.filter((line) => !expected.test(line))).toEqual([]);
  });
});
