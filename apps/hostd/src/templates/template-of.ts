import { parseTemplateReference, type MicrovmSpec } from '#protocol';

/** Id of the template that a start of this spec is a clone of; undefined: it is none. */
export function templateOf({ template }: Pick<MicrovmSpec, 'template'>): string | undefined {
  return template === undefined ? undefined : parseTemplateReference(template).template;
}
