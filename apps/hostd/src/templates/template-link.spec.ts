import pino from 'pino';
import type { BusClient } from '#bus';
import { OperationError, syncTemplates, templateContent, type Operation } from '#protocol';
import type { HostAgent } from '../host-agent';
import { TemplateLink } from './template-link';
import type { FetchTemplate } from './template-store';

const ID = '01hzzzzzzzzzzzzzzzzzzzzzz0';
const WANTED = { templateId: ID, digest: `sha256:${'a'.repeat(64)}` };

/** A host that fetches a template, with controllers and an image service that answer what a test says. */
function host(content: () => Promise<never>) {
  let fetch!: FetchTemplate;
  const told: (string[] | undefined)[] = [];
  let answer = (): Promise<object> => Promise.resolve({ drop: [], pools: [], publish: [], stored: [] });
  let wake: () => void = () => undefined;
  const bus = {
    call: (operation: Operation, request: { missing?: string[] }) => {
      if (operation === templateContent) return content();
      expect(operation).toBe(syncTemplates);
      expect(() => syncTemplates.request.parse(request)).not.toThrow();
      told.push(request.missing);
      wake();
      return answer();
    },
  };
  const templates = {
    connect: (by: FetchTemplate) => void (fetch = by),
    onChange: () => undefined,
    onUse: () => undefined,
    list: () => [],
    setStored: () => Promise.resolve(),
  };
  const slots = { keepMore: () => undefined, shellMs: 1 };
  const agent = { hostId: 'host-a', log: pino({ level: 'silent' }), templates, slots };
  const link = new TemplateLink(agent as unknown as HostAgent, bus as unknown as BusClient);
  return {
    link,
    told,
    fetch: () => fetch(WANTED, new AbortController().signal),
    refuseOnce: () => {
      const before = answer;
      answer = () => {
        answer = before;
        return Promise.reject(new Error('they are away'));
      };
    },
    comparisons: async (count: number) => {
      while (told.length < count) await new Promise<void>((resolve) => (wake = resolve));
      return told.slice(0, count);
    },
  };
}

describe('a template that the object store has lost', () => {
  it('is told to the controllers, until they have heard', async () => {
    const { link, fetch, refuseOnce, comparisons } = host(() =>
      Promise.reject(new OperationError('notFound', 'the object store does not hold it')),
    );
    refuseOnce();
    await expect(fetch()).rejects.toThrow(/cannot be fetched: the object store does not hold it/);
    expect(await comparisons(2)).toEqual([[ID], [ID]]);
    link.changed();
    expect(await comparisons(3)).toEqual([[ID], [ID], undefined]);
    link.onApplicationShutdown();
  });

  it('is another matter than one that could not be fetched for another reason', async () => {
    const { link, told, fetch, comparisons } = host(() => Promise.reject(new OperationError('refused', 'not for you')));
    await expect(fetch()).rejects.toThrow('not for you');
    link.changed();
    await comparisons(1);
    expect(told).toEqual([undefined]);
    link.onApplicationShutdown();
  });
});
