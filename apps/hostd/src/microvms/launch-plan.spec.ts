import { RunConfig, MicrovmSpec } from '#protocol';
import { planDisks } from '../disks/disk-plan';
import { slotOf } from '../slots/slot-layout';
import type { BootSource } from './agent-context';
import { programEnd } from './guest-report';
import { limiterOf, planLaunch, type LaunchInputs } from './launch-plan';

const slot = slotOf(4, { uidBase: 1, pool: { base: 0x64400000, prefix: 16 } });
const run = RunConfig.parse({
  entrypoint: ['/entry'],
  command: ['serve'],
  env: ['PATH=/bin', 'A=1'],
  user: 'app',
  workdir: '/srv',
});
const linux: BootSource = {
  kernelPath: '/k/vmlinux',
  initrdPath: '/k/initrd',
  bootProtocol: 'linux',
  irqchip: 'full',
  linux: { root: { path: '/i/root', sizeBytes: 4096, type: 'squashfs' }, modules: ['/volley/modules/a.ko'], run },
};
const canary: BootSource = { kernelPath: '/canary', bootProtocol: 'flat', irqchip: 'split' };

function inputs(spec: object, source: BootSource): LaunchInputs {
  const parsed = MicrovmSpec.parse({ image: source.linux ? 'app:1' : 'canary', ...spec });
  const plan = planDisks(parsed, source.linux !== undefined);
  const ready = (disk: (typeof plan.data)[number]) => ({
    plan: disk,
    files: { path: `/d/${disk.name}.raw`, sizeBytes: disk.sizeMiB * 2 ** 20, readOnly: false as const },
  });
  return {
    microvmId: 'vm1',
    spec: parsed,
    source,
    slot,
    ...(plan.overlay ? { overlay: ready(plan.overlay) } : {}),
    data: plan.data.map(ready),
    mtu: 1400,
    dns: ['192.0.2.53'],
    now: 1_700_000_000_500,
  };
}

/** Records of the configuration in the archive. */
function configOf(spec: object): [string, string][] {
  const archive = Buffer.from(planLaunch(inputs(spec, linux)).initrdExtra!).toString('latin1');
  const words = archive.slice(archive.indexOf('root\0/dev/vda'), archive.indexOf('TRAILER!!!')).split('\0');
  const records: [string, string][] = [];
  for (let i = 0; i + 1 < words.length && /^[a-z.]+$/.test(words[i]!); i += 2) records.push([words[i]!, words[i + 1]!]);
  return records;
}
const valuesOf = (spec: object, key: string) =>
  configOf(spec)
    .filter(([name]) => name === key)
    .map(([, value]) => value);

describe('a launch', () => {
  it('of a canary with a network tells it its address', () => {
    const { cmdline } = planLaunch(inputs({ cmdline: 'idle', network: {} }, canary));
    expect(cmdline).toBe(`net=${slot.address}/31,${slot.gateway} idle`);
  });

  it('of a canary has what it asks for, and nothing else', () => {
    expect(planLaunch(inputs({ cmdline: 'spin' }, canary))).toEqual({
      id: 'vm1',
      ...canary,
      vcpus: 1,
      memoryMiB: 128,
      cmdline: 'spin',
      devices: [],
    });
    const plan = planLaunch(
      inputs({ network: {}, disks: [{ sizeMiB: 8, limit: { bytesPerSecond: 9 } }], rng: true }, canary),
    );
    expect(plan.devices).toEqual([
      {
        type: 'block',
        path: '/d/disk0.raw',
        sizeBytes: 8 << 20,
        readOnly: false,
        serial: 'disk0',
        limit: { bytes: { size: 9, refillMs: 1000 } },
      },
      { type: 'net', mac: slot.mac, mtu: 1400 },
      { type: 'rng' },
    ]);
  });

  it('of a Linux image has all devices, in their order', () => {
    const plan = planLaunch(
      inputs({ disks: [{ sizeMiB: 8, mount: '/data' }], cmdline: 'debug', consoleLimit: { bytesPerSecond: 7 } }, linux),
    );
    expect(plan.devices.map((device) => [device.type, 'serial' in device ? device.serial : undefined])).toEqual([
      ['block', 'image'],
      ['block', 'root'],
      ['block', 'disk0'],
      ['net', undefined],
      ['vsock', undefined],
      ['balloon', undefined],
      ['rng', undefined],
    ]);
    expect(plan.cmdline).toBe('console=ttyS0 reboot=k panic=-1 quiet debug');
    expect(plan.consoleLimit).toEqual({ bytes: { size: 7, refillMs: 1000 } });
    expect(plan).not.toHaveProperty('linux');
  });

  it('tells init what it needs', () => {
    const config = Object.fromEntries(
      configOf({ disks: [{ sizeMiB: 8 }, { sizeMiB: 8, mount: '/data' }], name: 'web-1' }),
    );
    expect(config).toMatchObject({
      root: '/dev/vda',
      'root.type': 'squashfs',
      overlay: '/dev/vdb',
      mount: '/dev/vdd:/data:ext4:rw',
      module: '/volley/modules/a.ko',
      user: 'app',
      cwd: '/srv',
      hostname: 'web-1',
      net: '02:00:64:40:00:0b 100.64.0.11/31 100.64.0.10 1400',
      dns: '192.0.2.53',
      time: '1700000000',
    });
    expect(valuesOf({ network: 'none' }, 'net')).toEqual([]);
    expect(valuesOf({ name: 'a_b' }, 'hostname')).toEqual(['vm1']);
  });

  it('runs what spec and image say together', () => {
    expect(valuesOf({}, 'arg')).toEqual(['/entry', 'serve']);
    expect(valuesOf({ command: ['other'] }, 'arg')).toEqual(['/entry', 'other']);
    expect(valuesOf({ entrypoint: ['/mine'] }, 'arg')).toEqual(['/mine']);
    expect(valuesOf({ env: { A: '2', B: '' } }, 'env')).toEqual(['PATH=/bin', 'A=2', 'B=']);
    expect(valuesOf({ user: '0' }, 'user')).toEqual(['0']);
  });

  it('turns limits per second into buckets', () => {
    expect(limiterOf({ bytesPerSecond: 100, burstBytes: 5, operationsPerSecond: 3 })).toEqual({
      bytes: { size: 100, burst: 5, refillMs: 1000 },
      operations: { size: 3, refillMs: 1000 },
    });
    expect(limiterOf({})).toEqual({});
  });
});

it.each([
  [0x01000003, { code: 3 }],
  [0x02000009, { signal: 9 }],
  [0x01800000, { code: 0, asked: true }],
  [0x0280000f, { signal: 15, asked: true }],
  [0x03000000, { outOfMemory: true }],
  [0x04000002, { errno: 2 }],
  [0x01000fff, undefined],
  [0x02000000, undefined],
  [0xff000000, undefined],
  [undefined, undefined],
])('report %p of a guest means %p', (report, program) => {
  expect(programEnd(report)).toEqual(program);
});
