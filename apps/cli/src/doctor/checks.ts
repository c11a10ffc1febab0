import { DataFolder } from '../supervisor/data-folder';
import { parseState } from '../supervisor/supervisor-state';
import { EMULATED_MEANS } from '../emulated/emulated-means';
import { DENSITY_LIMITS } from './density-limits';
import { chosenIn, fail, numberIn, ok, warn, type Check, type Finding } from './finding';
import type { HostView } from './host-view';
import { kvmAccess } from './kvm-access';

const kvm: Check = (host) => {
  const access = kvmAccess(host);
  if (!access.usable) {
    return fail('KVM', access.why, `${access.todo}; or ./volley up --emulated: ${EMULATED_MEANS}`);
  }
  if (access.kind === 'hardware') return ok('KVM', `hardware, ${access.module}`);
  return warn(
    'KVM',
    `software, ${access.module}`,
    `canary guests run; stock Linux kernels need hardware KVM (bare metal, or a virtual machine with nested virtualisation), or ./volley up --emulated: ${EMULATED_MEANS}`,
  );
};

/** The fleet on this machine may do without KVM, which is nothing that anybody should overlook. */
const standIns: Check = (host) => {
  const state = parseState(host.read(DataFolder.at(host.dataFolder).stateFile) ?? '');
  if (state?.vmm !== 'stand-in') return undefined;
  return warn(
    'VMM',
    'the last fleet here was started with stand-ins for VMMs: no guest runs in its microVMs',
    './volley down && ./volley up --vmm kvm starts VMMs',
  );
};

const architecture: Check = (host) => {
  const cpuinfo = host.read('/proc/cpuinfo') ?? '';
  const model = /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? 'unknown model';
  const count = cpuinfo.match(/^processor\s*:/gm)?.length ?? 0;
  return ok('CPUs', `${count} x ${model}`);
};

const kernel: Check = (host) => {
  const release = host.read('/proc/sys/kernel/osrelease')?.trim() ?? 'unknown';
  const hz = /^CONFIG_HZ=(\d+)/m.exec(host.read(`/boot/config-${release}`) ?? '')?.[1];
  const [major = 0, minor = 0] = release.split('.').map(Number);
  const found = `${release}${hz === undefined ? '' : `, HZ ${hz}`}`;
  if (major < 5 || (major === 5 && minor < 10))
    return fail('kernel', found, 'use Linux 5.10 or newer: pidfds and clone3 are needed');
  if (hz !== undefined && Number(hz) < 250)
    return warn(
      'kernel',
      found,
      'a kernel with HZ 250 or 1000 starts microVMs faster: waits for grace periods take ticks',
    );
  return ok('kernel', found);
};

const cpuReservations: Check = (host) => {
  const name = 'CPU reservations';
  const allowed = /^Cpus_allowed_list:\s*(\S+)/m.exec(host.read('/proc/self/status') ?? '')?.[1];
  const online = host.read('/sys/devices/system/cpu/online')?.trim();
  const none = 'guaranteed vCPUs live by their weights, and may wait for a tick of the clock';
  if (host.read('/proc/sys/kernel/sched_rt_runtime_us')?.trim() === '0')
    return warn(name, none, 'set kernel.sched_rt_runtime_us to 950000: the kernel gives no CPU time away');
  if (allowed !== undefined && online !== undefined && allowed !== online)
    return warn(name, none, `run the agent on all CPUs (${online}, not ${allowed}): else the kernel reserves nothing`);
  return ok(name, 'for guaranteed vCPUs that need a CPU seldom');
};

const cgroups: Check = (host) => {
  const v2 = host.read('/sys/fs/cgroup/cgroup.controllers');
  if (v2 !== undefined) {
    const missing = ['cpu', 'memory', 'pids'].filter((name) => !v2.split(/\s+/).includes(name));
    if (missing.length === 0) return ok('cgroups', `version 2 with ${v2.trim()}`);
    return warn(
      'cgroups',
      `version 2 without ${missing.join(', ')}`,
      'enable these controllers for this user: limits per microVM need them',
    );
  }
  const advice = 'limits per microVM need version 2: boot with systemd.unified_cgroup_hierarchy=1';
  const hybrid = host.read('/sys/fs/cgroup/unified/cgroup.controllers');
  if (hybrid !== undefined)
    return warn('cgroups', `hybrid: version 2 holds ${hybrid.trim() || 'no controllers'}`, advice);
  const v1 = host.list('/sys/fs/cgroup').filter((name) => name === 'memory' || name === 'cpu' || name === 'pids');
  if (v1.length > 0) return warn('cgroups', `version 1 (${v1.join(', ')})`, advice);
  return warn('cgroups', 'none mounted', 'mount version 2 at /sys/fs/cgroup: limits per microVM need it');
};

const smt: Check = (host) => {
  const active = numberIn(host, '/sys/devices/system/cpu/smt/active');
  if (active === undefined) return undefined;
  return active === 0
    ? ok('SMT', 'off')
    : warn(
        'SMT',
        'on',
        'two guests on one core can spy on each other: where tenants do not trust each other, boot with nosmt',
      );
};

const vulnerabilities: Check = (host) => {
  const folder = '/sys/devices/system/cpu/vulnerabilities';
  const open = host.list(folder).filter((name) => host.read(`${folder}/${name}`)?.startsWith('Vulnerable'));
  if (host.list(folder).length === 0) return undefined;
  return open.length === 0
    ? ok('CPU flaws', 'none open')
    : warn(
        'CPU flaws',
        `open: ${open.sort().join(', ')}`,
        'update microcode and kernel, and boot without mitigations=off, before tenants share this host',
      );
};

const ksm: Check = (host) => {
  const run = numberIn(host, '/sys/kernel/mm/ksm/run');
  if (run === undefined) return ok('KSM', 'not in this kernel');
  return run === 1
    ? warn('KSM', 'on', 'merged pages let one tenant learn about another: echo 2 > /sys/kernel/mm/ksm/run')
    : ok('KSM', 'off');
};

const swap: Check = (host) => {
  const devices = (host.read('/proc/swaps') ?? '').split('\n').slice(1).filter(Boolean);
  if (devices.length === 0) return ok('swap', 'none');
  const names = devices.map((line) => line.split(/\s+/)[0]).join(', ');
  return warn(
    'swap',
    names,
    'guest memory would go to disk, slow and in the clear: swapoff -a, or use an encrypted device',
  );
};

const hugePages: Check = (host) => {
  const enabled = chosenIn(host, '/sys/kernel/mm/transparent_hugepage/enabled');
  if (enabled === undefined) return undefined;
  return enabled === 'always'
    ? warn(
        'huge pages',
        'transparent: always',
        'small processes grow to 2 MiB steps, which costs density: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled',
      )
    : ok('huge pages', `transparent: ${enabled}`);
};

const nxHugePages: Check = (host) => {
  const value = host.read('/sys/module/kvm/parameters/nx_huge_pages')?.trim();
  if (value === undefined) return undefined;
  const affected = !(host.read('/sys/devices/system/cpu/vulnerabilities/itlb_multihit') ?? 'Not affected').startsWith(
    'Not affected',
  );
  if (affected && (value === 'N' || value === 'never')) {
    return warn(
      'nx_huge_pages',
      value,
      'this CPU has the iTLB multihit flaw: a guest can crash the host; set kvm.nx_huge_pages=auto',
    );
  }
  if (!affected && value === 'Y') {
    return warn(
      'nx_huge_pages',
      value,
      'this CPU does not need it, and it slows the making of microVMs: boot with kvm.nx_huge_pages=never',
    );
  }
  return ok('nx_huge_pages', value);
};

const memoryPolicy: Check = (host) => {
  const policy = numberIn(host, '/proc/sys/vm/overcommit_memory');
  if (policy === undefined) return undefined;
  return policy === 2
    ? warn('memory policy', 'strict (2)', 'memory cannot be oversubscribed then: sysctl vm.overcommit_memory=0, or 1')
    : ok('memory policy', policy === 1 ? 'always overcommit (1)' : 'heuristic (0)');
};

const pressure: Check = (host) =>
  host.read('/proc/pressure/cpu') !== undefined
    ? ok('PSI', 'on')
    : warn('PSI', 'off', 'admission cannot see pressure: boot with psi=1 (kernel built with CONFIG_PSI)');

const clockSource: Check = (host) => {
  const source = host.read('/sys/devices/system/clocksource/clocksource0/current_clocksource')?.trim();
  if (source === undefined) return undefined;
  return source === 'tsc' || source.startsWith('kvm-clock') || source.startsWith('hyperv')
    ? ok('clock', source)
    : warn(
        'clock',
        source,
        'reading this clock is slow, for guests too: find out in the kernel log why tsc was given up',
      );
};

const memory: Check = (host) => {
  const text = host.read('/proc/meminfo') ?? '';
  const mib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1_024;
  const [total, available] = [mib('MemTotal'), mib('MemAvailable')];
  const found = `${Math.round(available)} of ${Math.round(total)} MiB available`;
  if (available < 512)
    return fail('memory', found, 'free some, or use a larger machine: the control plane alone wants 512 MiB');
  return available < 2_048 ? warn('memory', found, 'there is room for few microVMs') : ok('memory', found);
};

const disk: Check = (host) => {
  const free = host.freeMiB(host.dataFolder);
  if (free === undefined) return undefined;
  const found = `${Math.round(free)} MiB free for ${host.dataFolder}`;
  if (free < 256) return fail('disk', found, 'histories need room: free some, or choose another folder with --data');
  return free < 2_048 ? warn('disk', found, 'a busy fleet writes some 100 MiB of history a day') : ok('disk', found);
};

const natsServer: Check = (host) => {
  const version = host.natsServerVersion;
  if (version === undefined) return fail('nats-server', 'not found', 'install it with: apt-get install nats-server');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 9)
    ? ok('nats-server', version)
    : fail('nats-server', version, 'at least 2.9.0 is needed');
};

const node: Check = (host) => {
  const [major = 0, minor = 0] = host.nodeVersion.split('.').map(Number);
  return (major === 20 && minor >= 19) || major > 22 || (major === 22 && minor >= 12)
    ? ok('Node.js', host.nodeVersion)
    : fail('Node.js', host.nodeVersion, 'use 20.19 or newer of line 20, or 22.12 or newer');
};

const CHECKS: readonly Check[] = [
  kvm,
  standIns,
  architecture,
  kernel,
  cpuReservations,
  memory,
  disk,
  natsServer,
  node,
  cgroups,
  pressure,
  smt,
  vulnerabilities,
  ksm,
  swap,
  memoryPolicy,
  hugePages,
  nxHugePages,
  clockSource,
  ...DENSITY_LIMITS,
];

/** Everything there is to say about a host. */
export function examine(host: HostView): Finding[] {
  return CHECKS.flatMap((check) => check(host) ?? []);
}
