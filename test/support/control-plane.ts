import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { BusClient, connectNats, type CallOptions } from '#bus';
import { checkHistories, readHistories, type Violation } from '#chaos';
import { openFleetView, type FleetView } from '#fleet';
import {
  createMicrovm,
  MICROVM_STREAM,
  type Microvm,
  type MicrovmSpecInput,
  type MicrovmStateName,
  type Operation,
  type ReplyOf,
  type RequestOf,
} from '#protocol';
import { startNatsServer, type NatsServer } from './nats-server';
import { ScriptedHost, type ScriptedHostOptions } from './scripted-host';
import { ServiceProcess } from './service-process';

export interface ControlPlaneOptions {
  /** More lines of configuration for nats-server. */
  natsConfig?: string;
  /** Names of the controllers. Default: one without a name. */
  controllers?: readonly string[];
  /** What is to be on NATS before the services start. */
  before?: (nats: NatsConnection) => Promise<void>;
}

/** The deadlines of operations are those of a fleet that works; a test waits for as long as a busy machine takes. */
class PatientBus extends BusClient {
  override call<O extends Operation>(operation: O, request: RequestOf<O>, options?: CallOptions): Promise<ReplyOf<O>> {
    return super.call(operation, request, { deadlineMs: 30_000, ...options });
  }
}

/** A control plane without a fleet: nats-server, controllers and placement as processes of their own, and a client of them. */
export class ControlPlane {
  controllers: ServiceProcess[] = [];
  placement!: ServiceProcess;
  nats!: NatsConnection;
  bus!: BusClient;
  view!: FleetView;
  /** Subjects on which the view found what is no record, or none that may follow. */
  readonly skipped: string[] = [];
  readonly #hosts: ScriptedHost[] = [];

  private constructor(readonly server: NatsServer) {}

  static async start({ natsConfig, controllers, before }: ControlPlaneOptions = {}): Promise<ControlPlane> {
    const plane = new ControlPlane(await startNatsServer(natsConfig === undefined ? {} : { config: natsConfig }));
    try {
      await plane.#connect();
      await before?.(plane.nats);
      await plane.#startServices(controllers);
    } catch (error) {
      await plane.stop();
      throw error;
    }
    return plane;
  }

  /** The first one. */
  get controller(): ServiceProcess {
    return this.controllers[0]!;
  }

  /** A host of this fleet, until the end. */
  async host(id: string, options?: ScriptedHostOptions): Promise<ScriptedHost> {
    const host = await ScriptedHost.start(this.server.url, id, options);
    this.#hosts.push(host);
    return host;
  }

  async create(spec: Partial<MicrovmSpecInput> = {}, options?: CallOptions): Promise<Microvm> {
    return (await this.bus.call(createMicrovm, { spec: { image: 'canary', ...spec } }, options)).microvm;
  }

  /** Waits for a state, or until something else is so. Says what was instead, and what the services logged. */
  async reaches(id: string, what: MicrovmStateName | ((microvm: Microvm) => boolean), ms = 30_000): Promise<Microvm> {
    const satisfied = typeof what === 'string' ? ({ state }: Microvm) => state === what : what;
    const reached = await this.view.waitForMicrovm(id, satisfied, ms);
    if (reached) return reached;
    const logs = [...this.controllers, this.placement].map(({ app, log }) => `${app}:\n${log}`);
    const is = JSON.stringify(this.view.microvm(id));
    throw new Error(`${id} is not as awaited (${String(what)}) but ${is}\n${logs.join('\n')}`);
  }

  async running(spec?: Partial<MicrovmSpecInput>): Promise<Microvm> {
    return this.reaches((await this.create(spec)).id, 'running');
  }

  /** What is wrong with the histories of all microVMs. */
  async violations(): Promise<Violation[]> {
    return checkHistories(await readHistories(this.nats, MICROVM_STREAM.name)).violations;
  }

  async stop(): Promise<void> {
    this.view?.close();
    await Promise.all(this.#hosts.map((host) => host.close()));
    await this.nats?.close();
    await Promise.all([...this.controllers, this.placement].map((service) => service?.kill('SIGTERM')));
    await this.server.stop();
  }

  async #connect(): Promise<void> {
    this.nats = await connectNats({ servers: this.server.url, name: 'test' });
    this.bus = new PatientBus(this.nats, pino({ level: 'silent' }));
  }

  async #startServices(names: readonly (string | undefined)[] = [undefined]): Promise<void> {
    const env = { VOLLEY_NATS_URL: this.server.url };
    const controller = (name?: string): Promise<ServiceProcess> =>
      ServiceProcess.start('controller', name === undefined ? env : { ...env, VOLLEY_CONTROLLER_ID: name });
    [this.placement, ...this.controllers] = await Promise.all([
      ServiceProcess.start('placement', env),
      ...names.map(controller),
    ]);
    this.view = await openFleetView(this.nats, {
      onFailure: (error) => {
        throw error;
      },
      onSkipped: (subject) => this.skipped.push(subject),
    });
  }
}
