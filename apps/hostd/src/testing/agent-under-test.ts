import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Pacer } from '#concurrency';
import { WallClock } from '#journal';
import type { HostFact } from '#protocol';
import { Admission } from '#scheduling';
import pino from 'pino';
import { Disks } from '../disks/disks';
import { HostJournal, type Means } from '../journal/host-journal';
import type { IncarnationRecord } from '../journal/host-record';
import { DEFAULT_LIMITS, type AgentContext, type AgentLimits } from '../microvms/agent-context';
import { Chronicle, type Entry } from '../microvms/chronicle';
import { Facts } from '../microvms/facts';
import { MicrovmManager } from '../microvms/microvm-manager';
import { RunFolders } from '../microvms/run-folders';
import { SlotKeeper } from '../slots/slot-keeper';
import { slotOf, type Slot } from '../slots/slot-layout';
import { SnapshotFolders } from '../snapshots/snapshot-folders';
import { TemplateStore } from '../templates/template-store';
import { WorkingSets } from '../templates/working-sets';
import { ScriptedDriver } from './scripted-driver';
import type { ScriptedHost } from './scripted-host';
import { scriptedImages } from './scripted-images';

export interface AgentOptions {
  slots?: number;
  warmShells?: number;
  limits?: Partial<AgentLimits>;
  /** Around every record that it writes. */
  onAppend?: (when: 'before' | 'after') => void;
  /** Why its journal has no room, if so. */
  noRoom?: () => string | undefined;
  /** Moves its wall clock, as an administrator does. */
  wallClockJumpsBy?: number;
  leaseHeld?: boolean;
  /** Of the machine, as the agent sees it. */
  bootId?: string;
}

/**
 * Longer than a busy machine lets a test stand still: what answers here does so in a turn of the event loop. Whoever tests
 * what happens to one that does not answer sets that limit.
 */
const PATIENT = { bootMs: 50_000, controlMs: 50_000, killMs: 50_000, replaceMs: 50_000 };

/** Folders for snapshots in the data directory of an agent. */
export const SNAPSHOT_FOLDERS = ['templates', 'suspended'] as const;

/** One life of the agent on a directory of the scripted host. */
export class AgentUnderTest {
  readonly journal: HostJournal;
  readonly driver: ScriptedDriver;
  readonly admission: Admission;
  readonly folders: RunFolders;
  readonly slots: SlotKeeper;
  readonly manager: MicrovmManager;
  readonly context: AgentContext;
  leaseHeld: boolean;
  /** For what it gave up for good. */
  readonly fatal: Error[] = [];

  constructor(
    readonly directory: string,
    readonly host: ScriptedHost,
    options: AgentOptions = {},
  ) {
    const log = pino({ level: 'silent' });
    this.journal = HostJournal.open({
      directory: join(directory, 'data'),
      now: () => 1,
      log,
      onSyncFailure: () => undefined,
    });
    const { journal } = this;
    const appended = {
      state: journal.state,
      get noRoom(): string | undefined {
        return options.noRoom?.() ?? journal.noRoom;
      },
      append: (entry: Entry, means?: Means): void => {
        options.onAppend?.('before');
        journal.append(entry, means);
        options.onAppend?.('after');
      },
    };
    this.driver = new ScriptedDriver(host);
    this.admission = new Admission({
      slots: options.slots ?? 100,
      cpus: 50,
      memoryMiB: 100_000,
      reserveMiB: 0,
      overcommit: { cpu: 10, memory: 1 },
    });
    this.folders = new RunFolders(join(directory, 'run'));
    const clock = new WallClock();
    const pacer = new Pacer(2);
    const cgroups = {
      pathsOf: () => [],
      limit: () => undefined,
      groupOf: () => ({}),
      oomKills: ({ number }: Slot) => host.oomKills.get(number) ?? 0,
    };
    this.slots = new SlotKeeper({
      size: options.slots ?? 100,
      layout: (number) => slotOf(number, { uidBase: 200_000, pool: { base: 0x64400000, prefix: 16 } }),
      driver: this.driver,
      barriers: [],
      cgroups,
      network: Promise.resolve({ unavailable: 'a scripted host has none' }),
      warmShells: options.warmShells ?? 0,
      shellsAtOnce: 1,
      log,
    });
    this.slots.start();
    this.context = {
      chronicle: new Chronicle(appended, (error) => this.fatal.push(error)),
      driver: this.driver,
      admission: this.admission,
      folders: this.folders,
      clock,
      moment: () => ({
        wallMs: clock.now() + (options.wallClockJumpsBy ?? 0),
        monotonicMs: Number(process.hrtime.bigint()) / 1e6,
        bootId: options.bootId ?? 'boot',
      }),
      facts: new Facts('host-1', () => clock.now()),
      pacer,
      slots: this.slots,
      cgroups,
      disks: new Disks({ directory: join(directory, 'data'), log }),
      templates: new TemplateStore({
        directory: join(directory, 'data', 'templates'),
        maxBytes: 2 ** 40,
        leastFreeMiB: 0,
        log,
      }),
      workingSets: new WorkingSets(log),
      suspensions: new SnapshotFolders({ directory: join(directory, 'data', 'suspended'), leastFreeMiB: 0 }),
      platform: { kvm: 'software' },
      snapshotObstacle: (folder) => Promise.resolve(existsSync(join(folder, 'state')) ? undefined : 'there is none'),
      dns: [],
      images: scriptedImages,
      watcher: { began: () => undefined, ended: () => undefined },
      wakeDoors: { changed: () => undefined, suspended: () => Promise.resolve() },
      limits: { ...DEFAULT_LIMITS, ...PATIENT, ...options.limits },
      log,
    };
    this.leaseHeld = options.leaseHeld ?? true;
    this.manager = new MicrovmManager(this.context, () => this.leaseHeld);
  }

  /** SIGKILL: it does nothing any more. */
  crash(): void {
    void this.slots.stop();
    this.driver.close();
    this.context.chronicle.end();
  }

  /** What its journal says of a microVM; undefined: nothing. */
  incarnation(id: string): IncarnationRecord | undefined {
    return this.journal.state.incarnations.get(id);
  }

  phase(id: string): string | undefined {
    return this.incarnation(id)?.phase;
  }

  /** Types of the facts of a microVM that are to be told, in their order. */
  facts(id: string): string[] {
    return this.#factsOf(id).map(({ type }) => type);
  }

  /** The last fact of this type. */
  fact(id: string, type: string): HostFact | undefined {
    return this.#factsOf(id).findLast((fact) => fact.type === type);
  }

  /** The controller has heard all that was told so far. */
  acknowledgeAll(): void {
    this.context.chronicle.record({ acked: [...this.journal.state.outbox.keys()] });
  }

  /** Snapshots, of templates and of what is suspended, that are being written or removed. */
  drafts(): string[] {
    return SNAPSHOT_FOLDERS.flatMap((kind) => readdirSync(join(this.directory, 'data', kind, 'drafts')));
  }

  #factsOf(id: string): HostFact[] {
    return [...this.journal.state.outbox.values()].filter((one) => one.microvmId === id).map(({ fact }) => fact);
  }
}
