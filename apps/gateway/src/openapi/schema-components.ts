import {
  HistoryEntry,
  Host,
  HostDescription,
  HostRecord,
  Image,
  ImageJob,
  Microvm,
  MicrovmRecord,
  MicrovmSpec,
  Receipt,
  listHosts,
  listImages,
  placementOf,
} from '#protocol';
import { z } from 'zod';
import { HostChange, MicrovmChange } from '../events/events.routes';
import { Problem } from '../http/problem';
import { CollectBody, Collected, ImportBody, Upload } from '../images/images.routes';
import { EmptyBody, History, Log, MicrovmList, StopBody } from '../microvms/microvms.schemas';
import { PutAnswer, RunAnswer, RunBody } from '../sessions/sessions.schemas';

type JsonSchema = Record<string, unknown>;

/** Schemas with a name of their own in the document. */
const ANSWERS = {
  Microvm,
  MicrovmList,
  History,
  HistoryEntry,
  Receipts: placementOf.reply,
  Receipt,
  Log,
  Host,
  HostList: listHosts.reply,
  Image,
  ImageJob,
  ImageList: listImages.reply,
  Collected,
  Upload,
  RunAnswer,
  PutAnswer,
  HostDescription,
  MicrovmChange,
  MicrovmRecord,
  HostChange,
  HostRecord,
  Problem,
};
const BODIES = {
  CreateMicrovm: MicrovmSpec,
  StopMicrovm: StopBody,
  EmptyBody,
  ImportImage: ImportBody,
  CollectImages: CollectBody,
  RunInMicrovm: RunBody,
};

const refOf = (name: string): string => `#/components/schemas/${name}`;

function registryOf(schemas: Record<string, z.ZodType>) {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id });
  return registry;
}

const answers = registryOf(ANSWERS);
const bodies = registryOf(BODIES);

/** Named schemas as JSON Schema (2020-12, the dialect of OpenAPI 3.1). */
export function schemaComponents(): Record<string, JsonSchema> {
  const make = (registry: typeof answers, io: 'input' | 'output') =>
    z.toJSONSchema(registry, { uri: refOf, io, unrepresentable: 'any' }).schemas;
  const all = { ...make(answers, 'output'), ...make(bodies, 'input') };
  return Object.fromEntries(Object.entries(all).map(([name, schema]) => [name, tidy(schema as JsonSchema)]));
}

/** A reference to a named schema, or the schema itself. */
export function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const id = (io === 'input' ? bodies : answers).get(schema)?.id;
  if (id !== undefined) return { $ref: refOf(id) };
  if (schema instanceof z.ZodUnion)
    return { oneOf: (schema.options as z.ZodType[]).map((option) => schemaOf(option, io)) };
  return tidy(z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as JsonSchema);
}

/** Without the dialect and the ids, which the document as a whole gives, and without the bounds every integer in JSON has. */
function tidy(schema: JsonSchema): JsonSchema {
  const { $schema: _dialect, $id: _id, ...rest } = schema;
  return JSON.parse(
    JSON.stringify(rest, (key, value: unknown) => {
      const implied =
        (key === 'maximum' && value === Number.MAX_SAFE_INTEGER) ||
        (key === 'minimum' && value === Number.MIN_SAFE_INTEGER);
      return implied ? undefined : value;
    }),
  ) as JsonSchema;
}
