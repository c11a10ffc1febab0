import { readdirSync, readFileSync } from 'node:fs';
import type { DensityHistory, DensityReport, FleetDensity, MicrovmDensity, TenantUsage } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { describeWithKvm } from '../support/kvm';
import { natsServerMissing } from '../support/nats-server';

jest.setTimeout(180_000);

const COUNT = 120;
/** Guest memory that each of them touches, MiB. */
const TOUCHED_MIB = 2;
const TICK_MS = 10;

/** A file of /proc read by this test's own words, so that nothing is compared with itself. */
const textOf = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};
const kib = (text: string, name: string): number =>
  Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const percentOff = (value: number, truth: number): number => (100 * Math.abs(value - truth)) / truth;

function cpuMs(pid: number): number {
  const fields = textOf(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS;
}

/** ms of all CPUs together that the kernel has counted, whoever had them. */
function machineMs(): number {
  const [, ...ticks] = textOf('/proc/stat').split('\n')[0]!.split(/ +/).map(Number);
  return sum(ticks.slice(0, 8)) * TICK_MS;
}

describeWithKvm('the parts of a host, with a hundred canaries and more', () => {
  if (natsServerMissing()) return it.todo('needs nats-server');
  let fleet: Fleet;
  let pids: number[];

  beforeAll(async () => {
    fleet = await Fleet.up();
    // Its bursts are long beside a tick: /proc/stat counts ticks, and of bursts in step with them it counts too many.
    const busy = 'quiet burn=30 every=330';
    const starts = [...Array.from({ length: COUNT - 1 }, () => `quiet touch=${TOUCHED_MIB}`), busy];
    const next = starts.values();
    const worker = async (): Promise<void> => {
      for (const cmdline of next) await fleet.running({ cmdline, memoryMiB: 16 });
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    pids = fleet.vmms().map(({ pid }) => pid);
    const isTouched = async (): Promise<boolean> => {
      const { measured, guestKiB } = (await host()).microvmSums!;
      return measured === pids.length && guestKiB >= (COUNT - 1) * TOUCHED_MIB * 1024;
    };
    await until('all have touched their memory, and were measured after that', isTouched);
  });
  afterAll(() => fleet?.down());

  const host = async (): Promise<DensityReport> =>
    (await fleet.rest<FleetDensity>('GET', '/v1/density')).body.hosts[0]!;

  it('sum to all of its memory, and what stays unexplained is below 3 %', async () => {
    const { memory } = await host();
    const { totalKiB, unexplainedKiB, ...parts } = memory!;
    expect(totalKiB).toBe(kib(textOf('/proc/meminfo'), 'MemTotal'));
    expect(sum(Object.values(parts)) + unexplainedKiB).toBeCloseTo(totalKiB, 3);
    expect((100 * Math.abs(unexplainedKiB)) / totalKiB).toBeLessThan(3);
    for (const [name, size] of Object.entries(parts)) expect([name, size >= 0]).toEqual([name, true]);
  });

  it('are what a walk of every process finds', async () => {
    const { memory, microvmSums } = await host();
    const rollups = pids.map((pid) => textOf(`/proc/${pid}/smaps_rollup`));
    const vmms = { private: 0, resident: 0, proportional: 0, anonymous: 0, shmem: 0 };
    for (const text of rollups) {
      vmms.private += kib(text, 'Private_Clean') + kib(text, 'Private_Dirty');
      vmms.resident += kib(text, 'Rss');
      vmms.proportional += kib(text, 'Pss');
      vmms.anonymous += kib(text, 'Pss_Anon');
      vmms.shmem += kib(text, 'Pss_Shmem');
    }
    expect(vmms.anonymous).toBeGreaterThan(COUNT * TOUCHED_MIB * 1024);
    const { guestPrivateKiB, guestSharedKiB, vmmKiB, microvmPageTablesKiB } = memory!;
    expect(percentOff(guestPrivateKiB + guestSharedKiB + vmmKiB, vmms.anonymous + vmms.shmem)).toBeLessThan(3);
    expect(guestPrivateKiB).toBeGreaterThan((COUNT - 1) * TOUCHED_MIB * 1024);
    expect(percentOff(microvmSums!.residentKiB, vmms.resident)).toBeLessThan(3);
    expect(percentOff(microvmSums!.proportionalKiB, vmms.proportional)).toBeLessThan(3);
    expect(percentOff(microvmSums!.privateKiB, vmms.private)).toBeLessThan(3);
    const tables = sum(pids.map((pid) => Number(/^VmPTE:\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? 0)));
    expect(percentOff(microvmPageTablesKiB, tables)).toBeLessThan(3);

    // Everybody else, for whom the report only subtracts: of the host's memory it is off by less than 3 %.
    const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !pids.includes(Number(name)));
    const anonymousKiB = sum(others.map((pid) => kib(textOf(`/proc/${pid}/smaps_rollup`), 'Pss_Anon')));
    const offKiB = Math.abs(memory!.otherProcessesKiB - anonymousKiB);
    expect((100 * offKiB) / memory!.totalKiB).toBeLessThan(3);
  });

  it('give the kernel its share of each, and know what one more costs and how many more fit', async () => {
    const { memory, marginalCost, fits, headroom, microvms } = await host();
    const { microvmPageTablesKiB, microvmStacksKiB, microvmKernelKiB, vmmKiB } = memory!;
    // Process, machine and vCPU take the kernel 0.5 MiB and more; a tenth of it are page tables and stacks.
    const eachKiB = (microvmPageTablesKiB + microvmStacksKiB + microvmKernelKiB) / microvms;
    expect(eachKiB).toBeGreaterThan(300);
    expect(eachKiB).toBeLessThan(1_250);
    expect(marginalCost!.kib).toBeGreaterThan(300 + vmmKiB / microvms);
    expect(marginalCost!.kib).toBeLessThan(1_500);
    expect(fits!.microvms).toBe(Math.min(fits!.slots, fits!.vcpus, fits!.promisedMemory, fits!.availableMemory!));
    expect(fits![fits!.binding]).toBe(fits!.microvms);
    expect(headroom.microvms).toBe(Math.min(fits!.slots, fits!.vcpus, fits!.promisedMemory));
  });

  it('sum to all of its CPU time, and what stays unexplained is below 3 %', async () => {
    let seen = (await host()).cpu;
    /** The next report of a new window, and what VMMs have taken until then. */
    const windowEnd = async () => {
      const before = JSON.stringify(seen);
      await until('another window has ended', async () => JSON.stringify((seen = (await host()).cpu)) !== before);
      return { parts: seen!, vmmsMs: sum(pids.map(cpuMs)), machineMs: machineMs(), atMs: performance.now() };
    };
    const first = await windowEnd();
    const { parts, vmmsMs, machineMs: allMs, atMs } = await windowEnd();
    const { totalCores, ...rest } = parts;
    // By the kernel's own count, which falls short of the clock when its hypervisor takes a CPU away without telling.
    expect(percentOff(totalCores, (allMs - first.machineMs) / (atMs - first.atMs))).toBeLessThan(10);
    expect(sum(Object.values(rest))).toBeCloseTo(totalCores, 6);
    expect((100 * Math.abs(rest.unexplainedCores)) / totalCores).toBeLessThan(3);
    const truthCores = (vmmsMs - first.vmmsMs) / (atMs - first.atMs);
    expect(truthCores).toBeGreaterThan(0.05); // one of them is busy for 30 % of the time
    const offCores = Math.abs(parts.guestCores + parts.vmmCores - truthCores);
    expect((100 * offCores) / totalCores).toBeLessThan(3);
  });

  it('are told of one microVM and of a tenant, too', async () => {
    const [one] = (await fleet.list()).filter(({ cmdline }) => cmdline.includes('touch'));
    const { body } = await fleet.rest<MicrovmDensity>('GET', `/v1/microvms/${one!.id}/density`);
    const rollup = textOf(`/proc/${one!.pid}/smaps_rollup`);
    expect(percentOff(body.memory.residentKiB, kib(rollup, 'Rss'))).toBeLessThan(3);
    expect(
      percentOff(body.memory.guestKiB + body.overhead.vmmKiB, kib(rollup, 'Pss_Anon') + kib(rollup, 'Pss_Shmem')),
    ).toBeLessThan(3);
    expect(body.memory.guestKiB).toBeGreaterThan(TOUCHED_MIB * 1024);
    expect(body.overhead.kernelKiB).toBeGreaterThan(body.overhead.pageTablesKiB + body.overhead.kernelStacksKiB);
    const { tenant } = (await fleet.rest<{ tenant: TenantUsage }>('GET', '/v1/tenants/default/density')).body;
    expect(tenant).toMatchObject({ microvms: pids.length, used: { measured: pids.length } });
    expect(tenant.commitment.vcpus).toBe(pids.length);
  });

  it('are kept, also when the service that keeps them was killed', async () => {
    const pointsOf = async (path: string) => {
      const { body } = await fleet.rest<{ history: DensityHistory }>('GET', `${path}?step=10s`);
      return body.history.points;
    };
    const { hostId } = await host();
    const paths = ['/v1/density', `/v1/hosts/${hostId}/density`, '/v1/tenants/default/density'];
    const isKept = async (): Promise<boolean> => {
      const last = (await Promise.all(paths.map(pointsOf))).map((points) => points.at(-1)?.figures.microvms?.max);
      return last.every((microvms) => microvms === pids.length);
    };
    await until('points of all are kept', isKept);
    const before = await pointsOf('/v1/density');
    await fleet.kill9('volley-placement');
    await until('the service is back', async () => (await pointsOf('/v1/density')).length >= before.length);
    expect((await pointsOf('/v1/density')).slice(0, before.length)).toEqual(before);
    for (const { readings, figures } of before) {
      const { min, mean, max, p99 } = figures.hostUsedMiB!;
      expect(readings).toBeGreaterThan(0);
      expect(min <= mean && mean <= max && p99 <= max && p99 >= mean).toBe(true);
    }
  });

  it('goes by the policy of its class once it is put there, acknowledges it, and its history says so', async () => {
    const { hostId, ratio } = await host();
    expect(ratio!.hostClass).toBe('default');
    const { stdout } = await fleet.volley('hostclass', 'set', 'narrow', '--cpu', '0.01', '--memory', '1');
    expect(stdout).toContain('narrow: fixed: cpu 0.01x, memory 1x; 0 hosts');
    await fleet.volley('hostclass', 'assign', hostId, 'narrow');
    const goesByIt = async (): Promise<boolean> => {
      const { body } = await fleet.rest<{ hosts: { goesByIt: boolean }[] }>('GET', '/v1/host-classes/narrow');
      return body.hosts[0]!.goesByIt && (await host()).ratio?.hostClass === 'narrow';
    };
    await until('the host has acknowledged its class and reports it', goesByIt);
    // What was admitted stays, and nothing more is.
    expect(fleet.vmms()).toHaveLength(pids.length);
    const { body: made } = await fleet.rest<{ id: string }>('POST', '/v1/microvms', { image: 'canary' });
    expect((await fleet.reaches(made.id, 'failed')).reason).toContain('at most 0 vCPUs');
    const { stdout: told } = await fleet.volley('hostclass', 'get', 'narrow');
    expect(told).toContain('fixed: 0.01 of CPU and 1 of memory');
    await fleet.volley('hostclass', 'assign', hostId);
    await until('it goes by its own settings again', async () => (await host()).ratio?.hostClass === 'default');
    await fleet.running({ memoryMiB: 16 });
    // A report may be there before the host has acknowledged what it says.
    const recorded = async (): Promise<string[]> => {
      const path = `/v1/hosts/${hostId}/history`;
      const { body } = await fleet.rest<{ entries: { events: { type: string }[] }[] }>('GET', path);
      const types = body.entries.flatMap(({ events }) => events.map(({ type }) => type));
      return types.filter((type) => ['classAssigned', 'policyApplied'].includes(type));
    };
    await until('all of it is on record', async () => (await recorded()).length >= 4);
    expect(await recorded()).toEqual(['classAssigned', 'policyApplied', 'classAssigned', 'policyApplied']);
  });
});
