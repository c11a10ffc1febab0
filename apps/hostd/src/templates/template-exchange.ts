import type { BusClient } from '#bus';
import {
  lackingPieces,
  publishTemplate,
  putPiece,
  putWorkingSet,
  readPiece,
  templateContent,
  templateWorkingSet,
  type TemplateContent,
  type WorkingSet,
} from '#protocol';

/** The object store's templates, through the image service: hosts do not reach JetStream. All throw OperationError. */
export interface TemplateExchange {
  content(templateId: string, digest: string): Promise<TemplateContent>;
  piece(digest: string): Promise<Buffer>;
  lacking(templateId: string, digests: string[]): Promise<string[]>;
  /** Gives its digest. */
  put(templateId: string, content: Buffer): Promise<string>;
  /** Gives the pieces without which it is not published. */
  publish(templateId: string, content: TemplateContent): Promise<string[]>;
  putWorkingSet(templateId: string, workingSet: WorkingSet): Promise<void>;
  /** Null: nobody has told. */
  workingSet(templateId: string, digest: string): Promise<WorkingSet | null>;
}

export function exchangeOver(bus: BusClient, hostId: string): TemplateExchange {
  const to = { values: { hostId } };
  return {
    content: async (templateId, digest) => (await bus.call(templateContent, { templateId, digest }, to)).content,
    piece: async (digest) => Buffer.from((await bus.call(readPiece, { digest }, to)).content, 'base64'),
    lacking: async (templateId, digests) => (await bus.call(lackingPieces, { templateId, digests }, to)).digests,
    put: async (templateId, content) =>
      (await bus.call(putPiece, { templateId, content: content.toString('base64') }, to)).digest,
    publish: async (templateId, content) => (await bus.call(publishTemplate, { templateId, content }, to)).lacking,
    putWorkingSet: async (templateId, workingSet) => {
      await bus.call(putWorkingSet, { templateId, workingSet }, to);
    },
    workingSet: async (templateId, digest) =>
      (await bus.call(templateWorkingSet, { templateId, digest }, to)).workingSet,
  };
}
