import { checkConsoles } from './check-consoles';
import { checkViews } from './check-views';

describe('checking what readers are told', () => {
  const ending = { id: 'a', state: 'running', hostId: 'h', epoch: 2, sequence: 7 };
  const view = { id: 'a', state: 'running', hostId: 'h', epoch: 2, revision: 7 };

  it('finds nothing wrong when it is what the histories say', () => {
    expect(checkViews([ending], [view])).toEqual([]);
  });

  it.each([
    ['another state', { ...view, state: 'stopped' }],
    ['another host', { ...view, hostId: null }],
    ['another epoch', { ...view, epoch: 1 }],
    ['an earlier record', { ...view, revision: 6 }],
  ])('reports %s as S8', (_, told) => {
    expect(checkViews([ending], [told]).map(({ rule }) => rule)).toEqual(['S8']);
  });

  it('reports what is not told at all', () => {
    expect(checkViews([ending], []).map(({ rule }) => rule)).toContain('S8');
  });
});

describe('checking consoles', () => {
  it.each([
    [[], 'canary: zeros 0 ok kib=1024\r\ncanary: write 0 ok kib=1024\r\n'],
    [[], ''],
    [['S6'], 'canary: zeros 0 error reason=differs at=4096\r\n'],
  ])('reports %j for %j', (rules, text) => {
    expect(checkConsoles(new Map([['a', text]])).map(({ rule }) => rule)).toEqual(rules);
  });
});
