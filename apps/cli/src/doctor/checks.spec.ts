import { examine } from './checks';
import type { Access, HostView } from './host-view';
import { kvmAccess } from './kvm-access';

interface Fake {
  files?: Record<string, string>;
  kvm?: Access;
  free?: number;
  nats?: string;
  node?: string;
}

/** A well-kept bare-metal host, unless told otherwise. */
const GOOD: Record<string, string> = {
  '/proc/cpuinfo': 'processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu svm\nprocessor\t: 1\nflags\t\t: fpu svm\n',
  '/proc/sys/kernel/osrelease': '6.12.0-40-amd64\n',
  '/boot/config-6.12.0-40-amd64': 'CONFIG_HZ_250=y\nCONFIG_HZ=250\n',
  '/proc/meminfo': 'MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n',
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
  '/proc/pressure/cpu': 'some avg10=0.00\n',
  '/proc/self/status': 'Name:\tnode\nCpus_allowed_list:\t0-3\n',
  '/proc/sys/kernel/sched_rt_runtime_us': '950000\n',
  '/sys/devices/system/cpu/online': '0-3\n',
  '/sys/devices/system/cpu/smt/active': '0\n',
  '/sys/devices/system/cpu/vulnerabilities/itlb_multihit': 'Not affected\n',
  '/sys/kernel/mm/ksm/run': '0\n',
  '/proc/swaps': 'Filename\tType\tSize\tUsed\tPriority\n',
  '/proc/sys/vm/overcommit_memory': '0\n',
  '/sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never\n',
  '/sys/module/kvm/parameters/nx_huge_pages': 'N\n',
  '/sys/module/kvm_amd/x': '',
  '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'tsc\n',
  '/proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units     \nMax processes             63000                63000                processes \nMax open files            1024                 1048576              files     \n',
  '/proc/sys/kernel/pid_max': '4194304\n',
  '/proc/sys/kernel/threads-max': '126000\n',
  '/proc/sys/vm/max_map_count': '65530\n',
  '/proc/self/cgroup': '0::/user.slice/session-1.scope\n',
  '/sys/fs/cgroup/user.slice/pids.max': 'max\n',
  '/proc/sys/net/netfilter/nf_conntrack_max': '524288\n',
};

function host({ files = {}, kvm = 'ok', free = 50_000, nats = '2.9.10', node = '20.19.2' }: Fake = {}): HostView {
  const all: Record<string, string | undefined> = { ...GOOD, ...files };
  for (const [path, text] of Object.entries(all)) if (text === '(absent)') delete all[path];
  return {
    read: (path) => all[path],
    list: (path) => [
      ...new Set(
        Object.keys(all).flatMap((file) =>
          file.startsWith(`${path}/`) ? [file.slice(path.length + 1).split('/')[0]!] : [],
        ),
      ),
    ],
    access: () => kvm,
    freeMiB: () => free,
    natsServerVersion: nats === '' ? undefined : nats,
    nodeVersion: node,
    dataFolder: '/data',
  };
}

const finding = (check: string, fake: Fake) => examine(host(fake)).find((one) => one.check === check);

it('finds nothing wrong with a well-kept host', () => {
  expect(examine(host()).filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
});

it('says what to do about everything that is not as it should be', () => {
  const neglected = examine(
    host({
      kvm: 'absent',
      free: 10,
      nats: '',
      node: '18.19.0',
      files: Object.fromEntries(Object.keys(GOOD).map((path) => [path, '(absent)'])),
    }),
  );
  for (const one of neglected) expect(one.verdict === 'ok' || (one.advice ?? '').length > 10).toBe(true);
  expect(neglected.filter(({ verdict }) => verdict === 'fail').map(({ check }) => check)).toEqual(
    expect.arrayContaining(['KVM', 'memory', 'disk', 'nats-server', 'Node.js']),
  );
});

it('does not pass over a fleet whose microVMs have no guests', () => {
  const state = (text: string): Fake => ({ files: { '/data/supervisor.json': text } });
  expect(finding('VMM', state('{"vmm":"stand-in"}'))).toMatchObject({ verdict: 'warn' });
  for (const text of ['{"vmm":"kvm"}', '{}', 'torn', '(absent)']) expect(finding('VMM', state(text))).toBeUndefined();
});

describe('KVM', () => {
  const cpu = (flags: string): Record<string, string> => ({ '/proc/cpuinfo': `processor\t: 0\nflags\t\t: ${flags}\n` });

  it('is software KVM when kvm_pvm serves it, whatever the CPU flags', () => {
    expect(
      kvmAccess(host({ files: { ...cpu('fpu hypervisor'), '/sys/module/kvm_pvm/parameters': '' } })),
    ).toMatchObject({
      usable: true,
      kind: 'software',
      module: 'kvm_pvm',
    });
  });
  it('names the module to load', () => {
    expect(
      finding('KVM', { kvm: 'absent', files: { ...cpu('vmx'), '/sys/module/kvm_amd/x': '(absent)' } }),
    ).toMatchObject({
      verdict: 'fail',
      advice: expect.stringContaining('modprobe kvm_intel'),
    });
  });
  it('tells a virtual machine without nesting from a CPU without virtualisation', () => {
    expect(finding('KVM', { kvm: 'absent', files: cpu('fpu hypervisor') })!.advice).toContain('nested virtualisation');
    expect(finding('KVM', { kvm: 'absent', files: cpu('fpu') })!.advice).toContain('firmware');
  });
  it('tells a user without the right to open it how to get it', () => {
    expect(finding('KVM', { kvm: 'denied' })!.advice).toContain('usermod -aG kvm');
  });
});

it.each<[string, Fake, string, string]>([
  [
    'cgroups',
    { files: { '/sys/fs/cgroup/cgroup.controllers': '(absent)', '/sys/fs/cgroup/unified/cgroup.controllers': '\n' } },
    'warn',
    'hybrid',
  ],
  [
    'cgroups',
    { files: { '/sys/fs/cgroup/cgroup.controllers': '(absent)', '/sys/fs/cgroup/memory/tasks': '' } },
    'warn',
    'version 1',
  ],
  ['cgroups', { files: { '/sys/fs/cgroup/cgroup.controllers': 'cpuset io\n' } }, 'warn', 'without cpu, memory, pids'],
  ['SMT', { files: { '/sys/devices/system/cpu/smt/active': '1\n' } }, 'warn', 'on'],
  ['KSM', { files: { '/sys/kernel/mm/ksm/run': '1\n' } }, 'warn', 'on'],
  ['swap', { files: { '/proc/swaps': 'Filename\n/dev/sda2 partition 1 0 -2\n' } }, 'warn', '/dev/sda2'],
  [
    'CPU flaws',
    { files: { '/sys/devices/system/cpu/vulnerabilities/mds': 'Vulnerable: no microcode\n' } },
    'warn',
    'mds',
  ],
  [
    'huge pages',
    { files: { '/sys/kernel/mm/transparent_hugepage/enabled': '[always] madvise never\n' } },
    'warn',
    'always',
  ],
  ['nx_huge_pages', { files: { '/sys/module/kvm/parameters/nx_huge_pages': 'Y\n' } }, 'warn', 'Y'],
  [
    'nx_huge_pages',
    { files: { '/sys/devices/system/cpu/vulnerabilities/itlb_multihit': 'KVM: Vulnerable\n' } },
    'warn',
    'N',
  ],
  ['PSI', { files: { '/proc/pressure/cpu': '(absent)' } }, 'warn', 'off'],
  ['kernel', { files: { '/proc/sys/kernel/osrelease': '4.19.0-x\n' } }, 'fail', '4.19.0-x'],
  ['CPU reservations', { files: { '/proc/self/status': 'Cpus_allowed_list:\t0-2\n' } }, 'warn', 'weights'],
  ['CPU reservations', { files: { '/proc/sys/kernel/sched_rt_runtime_us': '0\n' } }, 'warn', 'weights'],
  ['kernel', { files: { '/boot/config-6.12.0-40-amd64': 'CONFIG_HZ=100\n' } }, 'warn', 'HZ 100'],
  ['memory policy', { files: { '/proc/sys/vm/overcommit_memory': '2\n' } }, 'warn', 'strict'],
  [
    'clock',
    { files: { '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'hpet\n' } },
    'warn',
    'hpet',
  ],
  [
    'open files',
    { files: { '/proc/self/limits': 'Max open files            1024                 4096                 files\n' } },
    'warn',
    '4096, enough for 1024 microVMs',
  ],
  ['pid_max', { files: { '/proc/sys/kernel/pid_max': '10096\n' } }, 'warn', 'enough for 2000 microVMs'],
  [
    'pids cgroup',
    { files: { '/sys/fs/cgroup/user.slice/session-1.scope/pids.max': '9000\n', '/sys/fs/cgroup/pids.max': 'max\n' } },
    'warn',
    '9000, enough for 1634 microVMs',
  ],
  [
    'pids cgroup',
    { files: { '/proc/self/cgroup': '8:pids:/a\n0::/\n', '/sys/fs/cgroup/pids/pids.max': '100\n' } },
    'warn',
    '100, enough for 0 microVMs',
  ],
  ['conntrack', { files: { '/proc/sys/net/netfilter/nf_conntrack_max': '65536\n' } }, 'warn', 'enough for 1024'],
  [
    'reserved huge pages',
    {
      files: {
        '/proc/meminfo':
          'MemTotal: 67108864 kB\nMemAvailable: 67108864 kB\nHugePages_Total: 512\nHugepagesize: 2048 kB\n',
      },
    },
    'warn',
    '1024 MiB',
  ],
  [
    'memory promise',
    { files: { '/proc/meminfo': 'MemTotal: 25165824 kB\nMemAvailable: 25165824 kB\n' } },
    'warn',
    '1.5 x 23347 MiB by default, enough for 2188 microVMs of 16 MiB',
  ],
  [
    'memory',
    { files: { '/proc/meminfo': 'MemTotal: 400000 kB\nMemAvailable: 200000 kB\n' } },
    'fail',
    '195 of 391 MiB',
  ],
  ['nats-server', { nats: '2.2.0' }, 'fail', '2.2.0'],
  ['Node.js', { node: '21.7.3' }, 'fail', '21.7.3'],
])('%s is judged from what the kernel shows (%#)', (check, fake, verdict, found) => {
  expect(finding(check, fake)).toMatchObject({
    verdict,
    found: expect.stringContaining(found),
    advice: expect.any(String),
  });
});

it('names the setting that lets 4,000 of the smallest be promised', () => {
  const meminfo = 'MemTotal: 25165824 kB\nMemAvailable: 25165824 kB\n';
  expect(finding('memory promise', { files: { '/proc/meminfo': meminfo } })!.advice).toContain(
    '--overcommit-memory 2.8',
  );
});

it('does not speak of what this kernel does not have', () => {
  expect(finding('SMT', { files: { '/sys/devices/system/cpu/smt/active': '(absent)' } })).toBeUndefined();
});
