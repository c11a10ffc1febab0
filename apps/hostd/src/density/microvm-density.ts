import { BlockingProcReader, readCharged } from '#density';
import { OperationError, type MicrovmDensity } from '#protocol';
import type { HostAgent } from '../host-agent';

/** One kernel stack on x86-64, KiB. */
const STACK_KIB = 16;

/** What one microVM takes, as it was measured last. @throws OperationError `notFound` when it does not run here, or was not measured yet */
export function microvmDensity({ chronicle, clock, density }: HostAgent, microvmId: string): MicrovmDensity {
  const record = chronicle.state.incarnations.get(microvmId);
  const measured = density.host.of(microvmId);
  if (!record || !measured) {
    throw new OperationError('notFound', `microVM ${microvmId} does not run on this host, or was not measured yet`);
  }
  const { spec } = record;
  const { reading, devices } = measured;
  const group = density.groupOf(microvmId);
  // A few small files, and only when somebody asks for this one.
  const charged = group && readCharged(new BlockingProcReader(), group);
  const { vcpus, memoryMiB } = spec;
  const has = (work: { reads: number; writes: number }) => work.reads + work.writes > 0;
  return {
    ...{ id: microvmId, epoch: reading.epoch, promised: { vcpus, memoryMiB } },
    at: clock.now() - density.ageMs(microvmId),
    memory: {
      ...{ residentKiB: reading.residentKiB, proportionalKiB: reading.proportionalKiB, privateKiB: reading.privateKiB },
      ...{ guestKiB: reading.guestKiB, sharedKiB: reading.sharedKiB, swapKiB: reading.swapKiB },
      sharedWith: spec.template ?? null,
    },
    overhead: {
      vmmKiB: reading.vmmKiB + reading.pageFileKiB,
      pageTablesKiB: reading.pageTablesKiB,
      kernelStacksKiB: reading.threads * STACK_KIB,
      kernelKiB: charged?.kernelKiB ?? null,
    },
    cpu: {
      ...{ cores: reading.cpuCores, guestCores: reading.guestCores, totalSeconds: reading.cpuMs / 1_000 },
      ...{ vcpuWaitPercent: reading.vcpuWaitPercent, throttled: reading.throttling ?? null },
    },
    disk: devices && has(devices.disk) ? devices.disk : null,
    network: devices && has(devices.network) ? devices.network : null,
    hints: { balloonedKiB: devices?.balloonedKiB ?? null },
  };
}
