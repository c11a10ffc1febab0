import { OperationError } from '#protocol';
import type { SerialRead } from '#microvm';
import type { HostState } from '../journal/host-state';
import type { MicrovmManager } from '../microvms/microvm-manager';
import type { RunFolders } from '../microvms/run-folders';
import { readLeftSerial } from './page-file';

/** Reads serial consoles: of a running VMM through the binding, of one that ended from what it left. */
export class ConsoleLog {
  constructor(
    private readonly manager: MicrovmManager,
    private readonly state: HostState,
    private readonly folders: RunFolders,
  ) {}

  /** @throws OperationError `notFound` when this host holds nothing of the microVM, or nothing was left of its console. */
  async read(microvmId: string, maxBytes: number, since: number | undefined): Promise<SerialRead> {
    const record = this.state.incarnations.get(microvmId);
    if (!record) throw new OperationError('notFound', `this host holds nothing of microVM ${microvmId}`);
    const process = this.manager.liveOf(microvmId)?.process;
    if (process) {
      try {
        return process.serial(maxBytes, since);
      } catch {
        // Ended, or not adopted: what it wrote is in its page file all the same.
      }
    }
    const left = await readLeftSerial(this.folders.pathOf(microvmId, record.epoch), maxBytes, since);
    if (left) return left;
    if (record.phase !== 'ended') return { text: '', from: 0, to: 0 }; // not launched yet
    throw new OperationError('notFound', `the serial console of microVM ${microvmId} was not kept`);
  }
}
