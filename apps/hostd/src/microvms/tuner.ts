import type { MicrovmProcess } from '#microvm';
import { OperationError, wantedDevices, findImage, type MicrovmSpec, type Tuning } from '#protocol';
import { planDisks } from '../disks/disk-plan';
import type { AgentContext } from './agent-context';
import { limiterOf } from './launch-plan';
import type { MicrovmManager } from './microvm-manager';

const MIB = 1024 * 1024;

/** Names of disks and network in the order of a launch; see {@link planLaunch}. */
export function deviceNames(spec: MicrovmSpec): string[] {
  const isLinux = findImage(spec.image) === undefined;
  const { overlay, data } = planDisks(spec, isLinux);
  return [
    ...(isLinux ? ['image'] : []),
    ...(overlay ? ['root'] : []),
    ...data.map(({ name }) => name),
    ...(wantedDevices(spec).network ? ['network'] : []),
  ];
}

/** Where a device is in the list of a launch. Undefined when this microVM has none. */
export function deviceIndex(spec: MicrovmSpec, device: string): number | undefined {
  const index = deviceNames(spec).indexOf(device);
  return index < 0 ? undefined : index;
}

/** Changes microVMs while they run. */
export class Tuner {
  constructor(
    private readonly manager: Pick<MicrovmManager, 'liveOf'>,
    private readonly context: Pick<AgentContext, 'chronicle' | 'limits'>,
  ) {}

  /** @throws OperationError `notFound`, `unsupported`, or `unavailable` when the VMM did not take it. */
  async tune(microvmId: string, tuning: Tuning): Promise<void> {
    const live = this.manager.liveOf(microvmId);
    const process = live?.process;
    if (!live || !process) throw new OperationError('notFound', `microVM ${microvmId} does not run on this host`);
    const { record } = live;
    const { controlMs } = this.context.limits;
    try {
      switch (tuning.kind) {
        case 'metadata': {
          const { epoch } = record;
          const change = { type: 'metadata' as const, microvmId, epoch, values: tuning.values };
          this.context.chronicle.accept(undefined, { accepted: true }, { change });
          return;
        }
        case 'ctrlAltDel':
          return await process.pressCtrlAltDel(controlMs);
        case 'balloon':
          return await this.#balloon(process, record.spec, tuning.mib);
        case 'limit':
          return await this.#limit(process, record.spec, tuning);
      }
    } catch (error) {
      if (error instanceof OperationError) throw error;
      throw new OperationError('unavailable', `the VMM did not take the change: ${(error as Error).message}`);
    }
  }

  async #balloon(process: MicrovmProcess, spec: MicrovmSpec, mib: number): Promise<void> {
    if (!wantedDevices(spec).balloon) throw new OperationError('unsupported', 'this microVM has no balloon');
    if (mib >= spec.memoryMiB) {
      const message = `the balloon cannot take ${mib} MiB of a guest that has ${spec.memoryMiB} MiB`;
      throw new OperationError('invalid', message);
    }
    await process.setBalloon(mib * MIB, this.context.limits.controlMs);
  }

  async #limit(
    process: MicrovmProcess,
    spec: MicrovmSpec,
    { device, direction, limit }: Extract<Tuning, { kind: 'limit' }>,
  ): Promise<void> {
    if (direction !== undefined && device !== 'network') {
      throw new OperationError('invalid', `only network has directions, ${device} has one limit`);
    }
    const index = device === 'console' ? 'console' : deviceIndex(spec, device);
    if (index === undefined) throw new OperationError('unsupported', `this microVM has no ${device}`);
    const which = device !== 'network' ? [0] : direction === 'receive' ? [0] : direction === 'send' ? [1] : [0, 1];
    for (const one of which) await process.setLimit(index, one, limiterOf(limit), this.context.limits.controlMs);
  }
}
