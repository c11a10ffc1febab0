import pino from 'pino';
import type { TemplateExchange } from './template-exchange';
import { TemplatePublisher } from './template-publisher';

describe('the publisher of templates', () => {
  /** Of templates that are gone again when their turn comes, which it looks for and no more. */
  const publisherOfNone = () => {
    const looked: string[] = [];
    const publisher = new TemplatePublisher({
      store: { get: (id) => void looked.push(id) },
      exchange: {} as TemplateExchange,
      over: () => undefined,
      log: pino({ level: 'silent' }),
    });
    return { publisher, looked };
  };

  it.each([
    ['at once', 0],
    ['a microtask later', 1],
    ['two microtasks later', 2],
    ['three microtasks later', 3],
  ])('begins anew with what is wanted %s', async (_, microtasks) => {
    const { publisher, looked } = publisherOfNone();
    publisher.want(['first']);
    for (let n = 0; n < microtasks; n++) await Promise.resolve();
    publisher.want(['second']);
    await new Promise(setImmediate);
    expect(looked).toEqual(['first', 'second']);
  });
});
