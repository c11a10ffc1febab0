import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { wallClockMs } from '#journal';
import { decideEvents, microvmContext, viewMicrovm, type Decision, type MicrovmLife, type Occasion } from '#lifecycle';
import { OperationError, requirePlacementLabels, sortableId, type createMicrovm, type ReplyOf } from '#protocol';
import type { z } from 'zod';
import { MicrovmHistories } from '../histories/microvm-histories';
import { pinTemplate } from '../templates/pin-template';
import { TemplateRecords } from '../templates/template-records';
import { QuotaGate } from '../tenants/quota-gate';
import { askedBy } from './asked-by';
import { CreatePressure } from './create-pressure';
import { IdempotencyKeys } from './idempotency-keys';
import { ImageCatalogue } from './image-catalogue';
import { pinImage } from './pin-image';
import { specHash } from './spec-hash';

type Request = z.output<(typeof createMicrovm)['request']>;

/** Creates microVMs: durable when answered, once per idempotency key. */
@Injectable()
export class CreateMicrovm {
  constructor(
    private readonly histories: MicrovmHistories,
    private readonly keys: IdempotencyKeys,
    private readonly images: ImageCatalogue,
    private readonly templates: TemplateRecords,
    private readonly quotas: QuotaGate,
    private readonly pressure: CreatePressure,
  ) {}

  async execute({
    spec: asked,
    id: chosen,
    idempotencyKey,
    by,
    requestedAt,
  }: Request): Promise<ReplyOf<typeof createMicrovm>> {
    requirePlacementLabels(asked);
    const spec =
      asked.template === undefined ? await pinImage(asked, this.images) : await pinTemplate(asked, this.templates);
    const now = wallClockMs();
    // Of what was asked for: the same request is the same, also when the image's name stands for something else by then.
    const wanted = { id: chosen ?? sortableId(Math.floor(now), randomBytes(10)), specHash: specHash(asked) };
    const { id, specHash: hash } =
      idempotencyKey === undefined ? wanted : await this.keys.claim(spec.tenant, idempotencyKey, wanted);
    // A caller's clock is only good for latencies when it is close to ours.
    const requested = requestedAt !== undefined && Math.abs(now - requestedAt) < 60_000 ? requestedAt : now;
    const who = askedBy({ commandId: `create.${id}`, by });
    const birth = (life: MicrovmLife | null, occasion: Occasion): Decision =>
      life
        ? { kind: 'nothing' }
        : decideEvents(
            null,
            [{ type: 'requested', spec, requestedAt: requested, specHash: hash }, { type: 'placementStarted' }],
            occasion,
          );
    const { life, appended } = await this.pressure.pass(spec.tenant, () =>
      this.quotas.create(id, spec, () => this.histories.decide(id, who, birth, true)),
    );
    if (!life) throw new OperationError('internal', `microVM ${id} was not born`);
    if (microvmContext(life).specHash !== hash) {
      throw new OperationError('conflict', `microVM ${id} exists with another spec; choose another id`);
    }
    return { microvm: viewMicrovm(life), created: appended };
  }
}
