import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles, type BusContext } from '#bus';
import { digestOf, TemplateContents } from '#images';
import {
  canonicalJson,
  lackingPieces,
  OperationError,
  publishTemplate,
  putPiece,
  putWorkingSet,
  readPiece,
  templateContent,
  templateWorkingSet,
  workingSetEnd,
  type Operation,
  type TemplateRecord,
} from '#protocol';
import { TemplatesOnRecord } from './templates-on-record';

const MIB = 1 << 20;

type RequestTo<O extends Operation> = z.output<O['request']>;

/** The content of templates, as hosts bring and fetch it. The subject says which host speaks. */
@Controller()
export class TemplateContentController {
  constructor(
    private readonly contents: TemplateContents,
    private readonly records: TemplatesOnRecord,
  ) {}

  @Handles(lackingPieces)
  async lacking({ templateId, digests }: RequestTo<typeof lackingPieces>, context: BusContext) {
    await this.#requireHolder(templateId, context);
    return { digests: await this.contents.lacking(digests) };
  }

  @Handles(putPiece)
  async put({ templateId, content }: RequestTo<typeof putPiece>, context: BusContext) {
    await this.#requireHolder(templateId, context);
    return { digest: await this.contents.put(Buffer.from(content, 'base64')) };
  }

  @Handles(publishTemplate)
  async publish({ templateId, content }: RequestTo<typeof publishTemplate>, context: BusContext) {
    const { digest } = await this.#requireHolder(templateId, context);
    // What is on record was told when it was made; nothing else can be put in its place.
    if (content.manifest.templateId !== templateId || digestOf(canonicalJson(content.manifest)) !== digest) {
      throw new OperationError('refused', `this is not template ${templateId}: it has the digest ${digest}`);
    }
    return { lacking: await this.contents.publish(content) };
  }

  @Handles(templateContent)
  async content({ templateId, digest }: RequestTo<typeof templateContent>) {
    const content = await this.contents.content(templateId);
    if (!content || digestOf(canonicalJson(content.manifest)) !== digest) {
      throw new OperationError('notFound', `the object store does not hold template ${templateId}@${digest}`);
    }
    return { content };
  }

  @Handles(putWorkingSet)
  async putWorkingSet({ templateId, workingSet }: RequestTo<typeof putWorkingSet>, context: BusContext) {
    const { digest, memoryMiB } = await this.#requireHolder(templateId, context);
    if (digest === null || workingSetEnd(workingSet) > memoryMiB * MIB) {
      throw new OperationError(
        'refused',
        `template ${templateId} has ${memoryMiB} MiB of memory, and this is beyond them`,
      );
    }
    await this.contents.putWorkingSet(templateId, { digest, workingSet });
    return {};
  }

  @Handles(templateWorkingSet)
  async workingSet({ templateId, digest }: RequestTo<typeof templateWorkingSet>) {
    return { workingSet: (await this.contents.workingSet(templateId, digest)) ?? null };
  }

  @Handles(readPiece)
  async piece({ digest }: RequestTo<typeof readPiece>) {
    return { content: (await this.contents.piece(digest)).toString('base64') };
  }

  /** @throws OperationError `refused` */
  async #requireHolder(templateId: string, { values }: BusContext): Promise<TemplateRecord> {
    const record = await this.records.ready(templateId);
    if (record?.hosts.includes(values['hostId']!)) return record;
    throw new OperationError('refused', `template ${templateId} is not on record as one that this host holds`);
  }
}
