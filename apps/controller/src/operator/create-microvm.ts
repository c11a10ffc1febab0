import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { wallClockMs } from '#journal';
import { decideEvents, microvmContext, viewMicrovm, type Decision, type MicrovmLife, type Occasion } from '#lifecycle';
import {
  BUILTIN_IMAGES,
  findImage,
  OperationError,
  sortableId,
  type createMicrovm,
  type MicrovmSpec,
  type ReplyOf,
} from '#protocol';
import type { z } from 'zod';
import { MicrovmHistories } from '../histories/microvm-histories';
import { IdempotencyKeys } from './idempotency-keys';
import { specHash } from './spec-hash';

type Request = z.output<(typeof createMicrovm)['request']>;

/** Creates microVMs: durable when answered, once per idempotency key. */
@Injectable()
export class CreateMicrovm {
  constructor(
    private readonly histories: MicrovmHistories,
    private readonly keys: IdempotencyKeys,
  ) {}

  async execute({
    spec,
    id: chosen,
    idempotencyKey,
    by,
    requestedAt,
  }: Request): Promise<ReplyOf<typeof createMicrovm>> {
    checkImage(spec);
    const now = wallClockMs();
    const wanted = { id: chosen ?? sortableId(Math.floor(now), randomBytes(10)), specHash: specHash(spec) };
    const { id, specHash: hash } =
      idempotencyKey === undefined ? wanted : await this.keys.claim(spec.tenant, idempotencyKey, wanted);
    // A caller's clock is only good for latencies when it is close to ours.
    const requested = requestedAt !== undefined && Math.abs(now - requestedAt) < 60_000 ? requestedAt : now;
    const who = { commandId: `create.${id}`, cause: { kind: 'operator' as const, by: by ?? 'operator' } };
    const birth = (life: MicrovmLife | null, occasion: Occasion): Decision =>
      life
        ? { kind: 'nothing' }
        : decideEvents(
            null,
            [{ type: 'requested', spec, requestedAt: requested, specHash: hash }, { type: 'placementStarted' }],
            occasion,
          );
    const { life, appended } = await this.histories.decide(id, who, birth, true);
    if (!life) throw new OperationError('internal', `microVM ${id} was not born`);
    if (microvmContext(life).specHash !== hash) {
      throw new OperationError('conflict', `microVM ${id} exists with another spec; choose another id`);
    }
    return { microvm: viewMicrovm(life), created: appended };
  }
}

function checkImage(spec: MicrovmSpec): void {
  const image = findImage(spec.image);
  if (!image) {
    const known = BUILTIN_IMAGES.map(({ name }) => name).join(', ');
    throw invalid('image', `there is no image ${JSON.stringify(spec.image)}; known are: ${known}`);
  }
  if (spec.vcpus > image.maxVcpus) throw invalid('vcpus', `image ${image.name} takes at most ${image.maxVcpus}`);
  if (spec.memoryMiB < image.minMemoryMiB)
    throw invalid('memoryMiB', `image ${image.name} needs at least ${image.minMemoryMiB}`);
}

function invalid(path: string, message: string): OperationError {
  return new OperationError('invalid', message, [{ path, message }]);
}
