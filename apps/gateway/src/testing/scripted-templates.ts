import { randomBytes } from 'node:crypto';
import {
  createTemplate,
  deleteTemplate,
  getTemplate,
  listTemplates,
  OperationError,
  setPool,
  sortableId,
  type Microvm,
  type Operation,
  type Template,
} from '#protocol';
import type { z } from 'zod';

type Answer = <O extends Operation>(
  operation: O,
  handler: (request: z.output<O['request']>) => z.input<O['reply']>,
) => void;

/** Templates for tests of the gateway: each is ready as soon as it is asked for. */
export class ScriptedTemplates {
  readonly #templates = new Map<string, Template>();

  constructor(private readonly microvm: (id: string) => Microvm) {}

  answer(answer: Answer): void {
    answer(createTemplate, ({ microvmId, name = null, id = sortableId(Date.now(), randomBytes(10)) }) => {
      const { tenant, state, image, vcpus, memoryMiB, epoch, hostId } = this.microvm(microvmId);
      if (state !== 'running' && state !== 'paused') throw new OperationError('conflict', `it is ${state}`);
      const at = Date.now();
      this.#templates.set(id, {
        ...{ id, name, tenant, image, vcpus, memoryMiB, state: 'ready', reason: null, pool: null },
        ...{ unusedDisks: [], stored: true, storeProblem: null },
        source: { microvmId, hostId: hostId!, epoch },
        devices: { network: false, vsock: false, balloon: false, rng: false, disks: 0 },
        platform: { kvm: 'software' },
        digest: `sha256:${'a'.repeat(64)}`,
        ...{ bytes: 1_048_576, pauseMs: 4, hosts: [hostId!], createdAt: at, updatedAt: at },
      });
      return { template: this.#find(id), created: true };
    });
    answer(listTemplates, ({ tenant }) => ({
      items: [...this.#templates.values()].filter((one) => tenant === undefined || one.tenant === tenant),
    }));
    answer(getTemplate, ({ id }) => ({ template: this.#find(id) }));
    answer(setPool, ({ id, pool }) => {
      this.#templates.set(id, { ...this.#find(id), pool });
      return { template: this.#find(id) };
    });
    answer(deleteTemplate, ({ id }) => {
      const template: Template = { ...this.#find(id), state: 'deleted' };
      this.#templates.delete(id);
      return { template };
    });
  }

  #find(id: string): Template {
    const template = this.#templates.get(id);
    if (!template) throw new OperationError('notFound', `there is no template ${id}`);
    return template;
  }
}
