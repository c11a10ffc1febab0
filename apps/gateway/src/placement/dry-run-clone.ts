import type { BusClient } from '#bus';
import {
  listTemplates,
  OperationError,
  parseTemplateReference,
  placesOfTemplate,
  type MicrovmSpec,
  type TemplatePlaces,
} from '#protocol';

/**
 * What a placement of a clone depends on: the image, size and network of its template, and where that is.
 *
 * @throws OperationError `invalid` without such a template of its tenant; what the controllers answer.
 */
export async function dryRunClone(
  bus: BusClient,
  spec: MicrovmSpec,
): Promise<{ spec: MicrovmSpec; template?: TemplatePlaces }> {
  if (spec.template === undefined) return { spec };
  const { template: asked } = parseTemplateReference(spec.template);
  const { items } = await bus.call(listTemplates, { tenant: spec.tenant });
  const ready = items.filter(({ state }) => state === 'ready');
  const template = ready.find(({ id }) => id === asked) ?? ready.findLast(({ name }) => name === asked);
  if (!template) throw new OperationError('invalid', `there is no template ${JSON.stringify(asked)} that is ready`);
  const { image, vcpus, memoryMiB, devices } = template;
  const network = spec.network ?? (devices.network ? undefined : ('none' as const));
  return {
    spec: { ...spec, ...{ image, vcpus, memoryMiB }, ...(network === undefined ? {} : { network }) },
    template: placesOfTemplate(template),
  };
}
