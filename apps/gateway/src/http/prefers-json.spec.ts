import { prefersJson } from './prefers-json';

describe('prefersJson', () => {
  it.each([
    [undefined, false],
    ['*/*', false],
    ['text/plain', false],
    ['application/json', true],
    ['application/json, text/plain, */*', false],
    ['text/plain;q=0.5, application/json', true],
    ['application/json;q=0', false],
    ['APPLICATION/JSON ; q=0.9', true],
  ])('%s: %s', (accept, expected) => expect(prefersJson(accept)).toBe(expected));
});
