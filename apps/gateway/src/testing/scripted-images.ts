import type { NatsConnection, Subscription } from 'nats';
import type { z } from 'zod';
import { ImageDirectory } from '#images';
import {
  collectImages,
  imageJob,
  importImage,
  OperationError,
  removeImage,
  type Image,
  type ImageJob,
  type Operation,
} from '#protocol';

export const DIGEST = `sha256:${'a'.repeat(64)}`;

/** An image by its looks. */
export function kernelImage(name: string): Image {
  const blob = { digest: DIGEST, bytes: 10 };
  return {
    name,
    digest: DIGEST,
    manifest: {
      schema: 1,
      kind: 'kernel',
      architecture: 'amd64',
      release: '6.1.0',
      vmlinux: blob,
      initrd: blob,
      modules: [],
    },
    bytes: 20,
    source: 'a test',
    createdAt: new Date(0).toISOString(),
  };
}

/** The image service for tests of the gateway: whatever is imported is done at once. */
export class ScriptedImages {
  readonly requests: Record<string, unknown>[] = [];
  readonly #jobs = new Map<string, ImageJob>();
  readonly #subscriptions: Subscription[] = [];

  private constructor(
    private readonly nc: NatsConnection,
    readonly directory: ImageDirectory,
  ) {}

  static async start(nc: NatsConnection): Promise<ScriptedImages> {
    const images = new ScriptedImages(nc, await ImageDirectory.open(nc));
    images.#answer(importImage, (request) => images.#import(request));
    images.#answer(imageJob, ({ id }) => {
      const job = images.#jobs.get(id);
      if (!job) throw new OperationError('notFound', `there is no import ${id}`);
      return { job };
    });
    images.#answer(removeImage, async ({ name }) => ({ removed: await images.directory.remove(name) }));
    images.#answer(collectImages, ({ dryRun }) => ({ blobs: dryRun ? 2 : 1, bytes: 30, kept: 4 }));
    await nc.flush();
    return images;
  }

  /** Resolves when NATS knows: from then on nobody is there, rather than somebody who is silent. */
  async stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.directory.close();
    if (!this.nc.isClosed()) await this.nc.flush();
  }

  async #import({ name }: z.output<(typeof importImage)['request']>) {
    const image = kernelImage(name);
    await this.directory.put(image);
    const id = `job${this.#jobs.size}`;
    this.#jobs.set(id, { id, name, state: 'done', message: 'imported in 0.1 s', image });
    return { job: { id, name, state: 'running' as const, message: 'begins' } };
  }

  #answer<O extends Operation>(operation: O, handle: (request: z.output<O['request']>) => unknown): void {
    const callback = async (_: unknown, msg: { json<T>(): T; respond(text: string): boolean }): Promise<void> => {
      try {
        const request = operation.request.parse(msg.json()) as z.output<O['request']>;
        this.requests.push(request as Record<string, unknown>);
        msg.respond(JSON.stringify(await handle(request)));
      } catch (error) {
        const known = error instanceof OperationError ? error : new OperationError('internal', String(error));
        msg.respond(JSON.stringify({ error: known.toBody() }));
      }
    };
    this.#subscriptions.push(
      this.nc.subscribe(operation.subject, { callback: (error, msg) => void callback(error, msg) }),
    );
  }
}
