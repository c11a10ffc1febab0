import { NatsConnectionImpl, setTransportFactory, type NatsConnection, type NodeConnectionOptions } from 'nats';
import { NodeTransport, nodeResolveHost } from 'nats/lib/node_transport';

/**
 * Writes in one piece what one turn of the event loop sends. The client alone writes after each step of each handler, and under load a write
 * to a socket, with the server that it wakes, costs more than the message.
 *
 * The client has no setting for that, and publishes no transport to derive from: its own is taken from an inner file, which any version of
 * it may rename or change. The version is pinned; nats-inner-parts.spec.ts says which part is gone when another one is tried.
 */
class GatheringTransport extends NodeTransport {
  #frames: Uint8Array[] = [];

  override send(frame: Uint8Array): void {
    if (this.#frames.push(frame) === 1) setImmediate(() => this.#write());
  }

  override close(error?: Error): Promise<void> {
    this.#write();
    return super.close(error);
  }

  #write(): void {
    const frames = this.#frames;
    if (frames.length === 0) return;
    this.#frames = [];
    super.send(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
  }
}

/** The client's `connect`, over a {@link GatheringTransport}, which all connections of this process have from then on. */
export function connectGathering(options: NodeConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({
    factory: () => new GatheringTransport(),
    dnsResolveFn: nodeResolveHost,
  });
  return NatsConnectionImpl.connect(options);
}
