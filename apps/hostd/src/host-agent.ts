import { join } from 'node:path';
import type { Server } from 'node:net';
import type { Logger } from 'pino';
import { Pacer } from '#concurrency';
import { WallClock } from '#journal';
import { CpuReservations, createMicrovmDriver, type MicrovmDriver } from '#microvm';
import {
  classOf,
  parseImageReference,
  parseTemplateReference,
  type DensityReport,
  type HostDescription,
} from '#protocol';
import { Admission, guaranteedHeadroom } from '#scheduling';
import { Lease, leaseFileIn } from './controller-link/lease';
import { DensityWatch } from './density/density-watch';
import type { AgentConfig } from './host/agent-config';
import { capacityOf, describeHost, linuxGuests, platformOf } from './host/host-description';
import { HostPolicy } from './host-class/host-policy';
import { hostIdOf, lockHostDirectory } from './host/host-identity';
import { IdleWatch } from './idle/idle-watch';
import { ImageCache } from './images/image-cache';
import { HostImageStore, ImportedImageStore } from './images/imported-images';
import { GuardActs } from './guards/guard-acts';
import { GuardKeeper } from './guards/guard-keeper';
import { HostGauges } from './guards/host-gauges';
import { MemoryReclaimer } from './guards/memory-reclaimer';
import { RatioKeeper } from './guards/ratio-keeper';
import { UsageMemory } from './guards/usage-memory';
import { WaitWatch } from './guards/wait-watch';
import { HostJournal } from './journal/host-journal';
import { ConsoleLog } from './log/console-log';
import type { IncarnationRecord } from './journal/host-record';
import { MetadataServer } from './metadata/metadata-server';
import { Tuner } from './microvms/tuner';
import { DEFAULT_LIMITS, type AgentContext } from './microvms/agent-context';
import { BuiltinImageStore } from './microvms/builtin-images';
import { Chronicle } from './microvms/chronicle';
import { within } from './microvms/deadline';
import { Facts } from './microvms/facts';
import { MicrovmManager } from './microvms/microvm-manager';
import { StartQueue } from './microvms/start-queue';
import { defaultRunDirectory, digestOf, RunFolders } from './microvms/run-folders';
import { WarmClones } from './pools/warm-clones';
import { nameServers } from './network/name-servers';
import { reclaimOrphans } from './recovery/orphans';
import { bootId } from './recovery/vmm-search';
import { Places } from './slots/places';
import type { SlotKeeper } from './slots/slot-keeper';
import { ROOT_DISK_MIB } from './disks/disk-plan';
import { Disks } from './disks/disks';
import { SnapshotFolders } from './snapshots/snapshot-folders';
import { snapshotObstacleOn } from './snapshots/snapshot-obstacle';
import { TemplateStore } from './templates/template-store';
import { WorkingSets } from './templates/working-sets';
import { mayReserve, VcpuReservations } from './reservations/vcpu-reservations';
import { WakeDoors } from './wake/wake-doors';
import { Ledger } from './ledger/ledger';

/** vsock port of the host at which guests ask for their metadata (VOLLEY_VSOCK_PORT_METADATA). */
const METADATA_PORT = 80;
/** How long a shutdown waits for launches under way. */
const DRAIN_MS = 3_000;
/** How long it waits for the end of what it may not have any more. */
const FENCE_MS = 5_000;
/** How often the host is compared with the journal. */
const AUDIT_MS = 60_000;

/**
 * Everything of the agent that does not need NATS: it takes over what runs, ends what must not run any more, and writes down what
 * happens, whether or not anybody can be told. The bus is joined to it later.
 */
export class HostAgent {
  #audits: NodeJS.Timeout | undefined;

  private constructor(
    readonly config: AgentConfig,
    readonly description: HostDescription,
    readonly clock: WallClock,
    readonly chronicle: Chronicle,
    readonly admission: Admission,
    readonly manager: MicrovmManager,
    readonly starts: StartQueue,
    readonly tuner: Tuner,
    readonly consoleLog: ConsoleLog,
    readonly density: DensityWatch,
    readonly idle: IdleWatch,
    readonly lease: Lease,
    readonly imageCache: ImageCache,
    readonly templates: TemplateStore,
    readonly warmClones: WarmClones,
    readonly workingSets: WorkingSets,
    readonly wakeDoors: WakeDoors,
    readonly log: Logger,
    private readonly parts: {
      journal: HostJournal;
      driver: MicrovmDriver;
      folders: RunFolders;
      lock: Server;
      places: Places;
      metadata: MetadataServer | undefined;
      ledger: Ledger;
      guards: GuardKeeper;
      guardActs: GuardActs;
      policy: HostPolicy;
      reservations: VcpuReservations | undefined;
    },
  ) {}

  get slots(): SlotKeeper {
    return this.parts.places.slots;
  }

  /** What it goes by, as one of its class. */
  get policy(): HostPolicy {
    return this.parts.policy;
  }

  /** Where the folders of incarnations and the lease lie. */
  get runRoot(): string {
    return this.parts.folders.root;
  }

  get hostId(): string {
    return this.description.hostId;
  }

  /**
   * Opens the host directory and takes over its microVMs. `fatal` is called when the agent cannot go on.
   *
   * @throws HostDirectoryError, NoRunDirectoryError, or what the binding says when it cannot be loaded.
   */
  static async start(config: AgentConfig, log: Logger, fatal: (error: Error) => void): Promise<HostAgent> {
    const hostId = hostIdOf(config.hostDir, config.hostId);
    const digest = digestOf(config.hostDir);
    const lock = await lockHostDirectory(config.hostDir, digest);
    const folders = new RunFolders(join(config.runDir ?? defaultRunDirectory(), `volley-${digest}`));
    const clock = new WallClock();
    const boot = bootId();
    const journal = HostJournal.open({
      directory: config.hostDir,
      now: () => clock.now(),
      log,
      onSyncFailure: (error) => fatal(new Error(`the journal cannot be synced: ${error.message}`)),
    });
    const chronicle = new Chronicle(journal, fatal);
    const capacity = capacityOf(config);
    const launchesAtOnce = config.launchesAtOnce ?? capacity.cpus;
    const shellsAtOnce = config.shellsAtOnce ?? Math.ceil(capacity.cpus / 2);
    const metadataPath = join(folders.root, 'metadata.sock');
    const driver = createMicrovmDriver({
      ...(config.vmm === 'stand-in' ? { vmmPath: config.standInPath, standIn: true } : { vmmPath: config.vmmPath }),
      launchThreads: Math.min(64, launchesAtOnce + shellsAtOnce),
      vsockServices: { [METADATA_PORT]: metadataPath },
    });
    const metadata = await MetadataServer.listen({
      path: metadataPath,
      valuesOf: (id) => metadataOf(chronicle.state.incarnations.get(id)),
      log,
    }).catch((error: unknown) => {
      log.error({ err: error, path: metadataPath }, 'guests cannot ask for their metadata');
      return undefined;
    });
    const probe = driver.probe();
    if (!probe.available) log.error({ reason: probe.reason }, 'this host cannot run microVMs');
    if (probe.kind === 'stand-in')
      log.warn('VOLLEY_VMM=stand-in: microVMs of this host are processes without a guest, for tests only');
    const builtin = new BuiltinImageStore(
      { canary: { kernel: config.canaryPath, withDrivers: config.canaryDevicesPath } },
      probe.available ? undefined : (probe.reason ?? 'KVM is not available'),
    );
    const templates = new TemplateStore({
      directory: join(config.hostDir, 'templates'),
      maxBytes: config.templateMib * 2 ** 20,
      inUse: function* () {
        for (const { phase, spec } of chronicle.state.incarnations.values()) {
          if (phase !== 'ended' && spec.template !== undefined) yield parseTemplateReference(spec.template).template;
        }
      },
      log,
    });
    const suspensions = new SnapshotFolders({ directory: join(config.hostDir, 'suspended') });
    const imageCache = new ImageCache({
      folder: join(config.hostDir, 'images'),
      maxBytes: config.imageCacheMib * 2 ** 20,
      inUse: function* () {
        const specs = [...chronicle.state.incarnations.values()].map(({ spec }) => spec.image);
        for (const image of [...specs, ...templates.images()]) {
          const { digest } = parseImageReference(image);
          if (digest !== undefined) yield digest;
        }
      },
      log,
    });
    const linux = linuxGuests(probe);
    const noLinux = linux.available ? undefined : (linux.reason ?? 'stock Linux does not boot here');
    const images = new HostImageStore(builtin, new ImportedImageStore(imageCache, noLinux));
    const admission = new Admission(capacity);
    const pacer = new Pacer(launchesAtOnce);
    const { slots, cpus } = capacity;
    const places = new Places({ config, digest, slots, cpus, driver, shellsAtOnce, state: chronicle.state, log });
    if (config.memoryMib !== undefined && !places.cgroups.bound((capacity.memoryMiB - capacity.reserveMiB) * 2 ** 20))
      log.warn({ memoryMiB: config.memoryMib }, 'nothing holds microVMs to the memory of this setting');
    const disks = new Disks({ directory: join(config.hostDir, 'disks'), log });
    const density = new DensityWatch({ config, group: places.cgroups.groupOf(), log });
    let fenced: Promise<unknown> = Promise.resolve();
    const lease = new Lease({
      path: leaseFileIn(folders.root),
      bootId: boot,
      onEnd: () => {
        const ends = manager.fence();
        if (ends.length === 0) return;
        log.error({ count: ends.length }, 'the lease is over: microVMs that may start elsewhere now are ended');
        fenced = Promise.all(ends);
      },
    });
    const reservations =
      config.cpuReservations === 'off'
        ? undefined
        : new VcpuReservations({
            kernel: new CpuReservations(),
            cpus,
            mayReserve: (id) => mayReserve(chronicle.state.incarnations.get(id)?.spec),
            nowMs: () => performance.now(),
            log,
          });
    const wakeDoors = new WakeDoors({
      incarnations: chronicle.state.incarnations,
      sockets: folders.guestSockets,
      nowMs: () => performance.now(),
      log,
    });
    const workingSets = new WorkingSets(log);
    const context: AgentContext = {
      chronicle,
      driver,
      admission,
      folders,
      wakeDoors,
      clock,
      moment: () => ({ wallMs: clock.now(), monotonicMs: Number(process.hrtime.bigint()) / 1e6, bootId: boot }),
      facts: new Facts(hostId, () => clock.now()),
      pacer,
      slots: places.slots,
      cgroups: places.cgroups,
      disks,
      templates,
      workingSets,
      suspensions,
      platform: platformOf(probe),
      snapshotObstacle: snapshotObstacleOn(platformOf(probe)),
      dns: config.dns.length > 0 ? config.dns : nameServers(),
      images,
      watcher: {
        began: (target, news) => (density.began(target, news), reservations?.began(target)),
        ended: (id) => (density.ended(id), reservations?.ended(id)),
      },
      limits: { ...DEFAULT_LIMITS, bootMs: config.bootDeadlineMs },
      log,
    };
    places.slots.network.askAboutPorts(wakeDoors);
    const manager = new MicrovmManager(context, () => lease.held());
    const starts = new StartQueue({ manager, pacer, slots: places.slots, now: () => clock.now() });
    const tuner = new Tuner(manager, context);
    const idle = new IdleWatch({
      candidate: (id) => manager.idleCandidate(id),
      end: (id, message) => manager.endIdle(id, message),
      nowMs: () => performance.now(),
    });
    density.listen(({ readings }) => idle.round(readings));
    const waits = new WaitWatch({
      isGuaranteed: (id) => {
        const live = manager.liveOf(id);
        return live && classOf(live.record.spec) === 'guaranteed';
      },
      nowMs: () => performance.now(),
    });
    density.listen(({ readings }) => waits.round(readings));
    const warmClones = new WarmClones({ slots: places.slots, templates, driver, atOnce: shellsAtOnce, log });
    const guardActs = new GuardActs(
      (acts) => void chronicle.record({ guardActs: acts }),
      () => performance.now(),
    );
    const guards = new GuardKeeper({
      ...{ admission, waits, log },
      gauges: new HostGauges(places.cgroups),
      reclaimer: new MemoryReclaimer(manager, places.cgroups, context),
      giveUpPools: () => warmClones.giveUp(),
      tell: (act) => guardActs.add(act),
      nowMs: () => performance.now(),
      wallMs: () => clock.now(),
    });
    const own = {
      hostClass: config.hostClass,
      settings: config.oversubscription ?? {
        policy: { kind: 'fixedRatio' as const, ...capacity.overcommit },
        guards: {},
      },
    };
    const promisedTo = (id: string) => {
      const spec = manager.liveOf(id)?.record.spec;
      return spec && { vcpus: spec.vcpus, memoryMiB: spec.memoryMiB };
    };
    const memory = new UsageMemory({ path: join(config.hostDir, 'usage'), wallMs: () => clock.now(), log });
    const ratio = new RatioKeeper(
      { admission, log, promisedTo, memory, nowMs: () => performance.now() },
      own.hostClass,
      own.settings,
    );
    density.listen(({ readings }) => ratio.round(readings));
    const policy = new HostPolicy({ own, chronicle, ratio, guards, log });
    const consoleLog = new ConsoleLog(manager, chronicle.state, folders);
    await takeOver(manager, lease, config, log);
    // By what is promised to those that were adopted.
    ratio.derive();
    // Whoever registers must not hold what may run elsewhere by now.
    if ((await within(fenced, FENCE_MS, 'late')) === 'late')
      log.error('a microVM that must not run here any more does not end');
    // Barriers and network are part of what the host offers.
    const description = describeHost(hostId, capacity, probe, builtin.names, config, await places.describe());
    places.slots.start();
    disks.warm(ROOT_DISK_MIB);
    density.start();
    reservations?.start();
    guards.start();
    const { slots: keeper, cgroups } = places;
    const fabric = await places.fabric();
    const ledger = new Ledger({
      state: chronicle.state,
      size: slots,
      slots: keeper,
      cgroups,
      fabric,
      disks,
      suspensions,
      log,
    });
    return new HostAgent(
      config,
      description,
      clock,
      chronicle,
      admission,
      manager,
      starts,
      tuner,
      consoleLog,
      density,
      idle,
      lease,
      imageCache,
      templates,
      warmClones,
      workingSets,
      wakeDoors,
      log,
      {
        journal,
        driver,
        folders,
        lock,
        places,
        metadata,
        ledger,
        guards,
        guardActs,
        policy,
        reservations,
      },
    );
  }

  /** What its reports say of promises and of what keeps them. */
  promises(): Pick<DensityReport, 'guaranteed' | 'guards' | 'ratio' | 'pooled' | 'cpuReservations'> {
    const { admission, parts } = this;
    const commitment = admission.guaranteed();
    return {
      guaranteed: { commitment, headroom: guaranteedHeadroom(admission.capacity, commitment) },
      guards: parts.guards.report(),
      ratio: parts.policy.ratio,
      pooled: this.warmClones.report(),
      ...(parts.reservations ? { cpuReservations: parts.reservations.report() } : {}),
    };
  }

  /** Ends and removes what no record owns. For later, in the background: serving comes first. */
  async reclaim(): Promise<void> {
    const { chronicle, log, parts } = this;
    const report = await reclaimOrphans({ state: chronicle.state, folders: parts.folders, log });
    log.debug({ processes: report.processes.length, folders: report.folders.length }, 'looked for orphans');
    await this.#audit();
    this.#audits = setInterval(() => void this.#audit(), AUDIT_MS);
    this.#audits.unref();
  }

  async #audit(): Promise<void> {
    try {
      const { noRoom } = this.chronicle;
      if (noRoom !== undefined) this.log.error({ reason: noRoom }, 'no microVM can start here');
      await this.parts.ledger.audit();
    } catch (error) {
      this.log.warn({ err: error as Error }, 'the host could not be compared with the journal');
    }
  }

  /** Leaks that were found since the agent began. */
  get leaks(): number {
    return this.parts.ledger.found;
  }

  /** Finishes what is under way, syncs the journal and lets go. microVMs go on running. */
  async stop(): Promise<void> {
    const { manager, starts, chronicle, density, lease, parts } = this;
    clearInterval(this.#audits);
    starts.close();
    await manager.drain(DRAIN_MS);
    parts.guards.stop();
    parts.reservations?.stop();
    this.warmClones.stop();
    this.wakeDoors.stop();
    parts.guardActs.stop();
    chronicle.end();
    lease.stop();
    await density.stop();
    await parts.metadata?.close();
    await parts.places.close(manager.liveCount);
    await parts.journal.close();
    parts.driver.close();
    await new Promise((resolve) => parts.lock.close(resolve));
  }
}

async function takeOver(manager: MicrovmManager, lease: Lease, config: AgentConfig, log: Logger): Promise<void> {
  const startedMs = performance.now();
  await manager.recover();
  lease.watch();
  const ms = Math.round(performance.now() - startedMs);
  log.info({ hostDir: config.hostDir, microvms: manager.liveCount, ms }, 'microVMs taken over');
}

/** What the guest of an incarnation that is alive may read. */
function metadataOf(record: IncarnationRecord | undefined): Readonly<Record<string, string>> | undefined {
  return record === undefined || record.phase === 'ended' ? undefined : (record.metadata ?? record.spec.metadata ?? {});
}
