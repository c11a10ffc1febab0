import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '#ports';
import type { VmmChoice } from '#protocol';
import { RestClient } from '../../rest/rest-client';
import { targetOf } from '../../rest/target';
import { urlOf } from '../../rest/url-of';
import { DataFolder } from '../../supervisor/data-folder';
import { identify, type ProcessIdentity } from '../../supervisor/process-identity';
import { readSettings, type Settings } from '../../supervisor/settings';
import { endMarked } from '../../supervisor/supervisor';
import { readState } from '../../supervisor/supervisor-state';
import { killVmms, vmmProcesses } from '../../supervisor/vmm-processes';
import type { Overcommit } from '../../supervisor/volley-processes';
import { untilHostReady } from '../../up/first-light';
import { endSupervisor, launchSupervisor, untilReady } from '../../up/supervisor-process';

const LOOPBACK = '127.0.0.1';

/** How long it may take to come up, where nothing else is said. */
export const FLEET_READY_MS = 60_000;

export interface OwnFleetOptions {
  overcommit: Overcommit;
  vmm?: VmmChoice;
  readyMs?: number;
}

/** A whole Volley for one measurement, on a folder and a port of its own: nothing that runs here is touched, and nothing of it stays. */
export class OwnFleet {
  #supervisor: ProcessIdentity | undefined;

  private constructor(
    readonly folder: DataFolder,
    readonly client: RestClient,
    readonly settings: Settings,
    supervisor: ProcessIdentity | undefined,
  ) {
    this.#supervisor = supervisor;
  }

  /** @throws CliError when it is not up in time, or has no host that takes microVMs; nothing of it is left then. */
  static async up({ overcommit, vmm = 'kvm', readyMs = FLEET_READY_MS }: OwnFleetOptions): Promise<OwnFleet> {
    const folder = DataFolder.create(mkdtempSync(join(tmpdir(), 'volley-bench-')));
    let fleet: OwnFleet | undefined;
    let supervisor: ProcessIdentity | undefined;
    try {
      const listen = { host: LOOPBACK, port: await freePort(LOOPBACK) };
      const child = launchSupervisor(folder, {
        listen,
        overcommit,
        controllers: 1,
        cluster: false,
        emulated: false,
        vmm,
      });
      child.unref();
      supervisor = child.pid === undefined ? undefined : identify(child.pid);
      const target = { url: urlOf(listen), tokenFile: folder.operatorTokenFile, data: folder.path };
      const client = new RestClient(targetOf(target, {}));
      await untilReady(folder, client, readyMs, child);
      fleet = new OwnFleet(folder, client, readSettings(folder)!, supervisor);
      await untilHostReady(client, fleet.settings.hostId, readyMs);
      return fleet;
    } finally {
      if (!fleet) await remove(folder, supervisor);
    }
  }

  /** Process ids of the control plane and the host agent, by name. */
  pids(): Record<string, number> {
    const processes = readState(this.folder)?.processes ?? [];
    return Object.fromEntries(
      processes.flatMap(({ name, pid }) => (pid == null ? [] : [[name.replace(/^volley-/, ''), pid]])),
    );
  }

  /** Ends everything of it, VMMs included, and removes its folder. */
  async down(): Promise<void> {
    await remove(this.folder, this.#supervisor);
    this.#supervisor = undefined;
  }
}

async function remove(folder: DataFolder, supervisor: ProcessIdentity | undefined): Promise<void> {
  const settings = readSettings(folder);
  await endSupervisor(supervisor);
  await endMarked(folder, () => {});
  if (settings) {
    await killVmms(vmmProcesses(settings.runDir));
    rmSync(settings.runDir, { recursive: true, force: true });
  }
  rmSync(folder.path, { recursive: true, force: true });
}
