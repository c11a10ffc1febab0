import { EVERYTHING } from './microvm-query';
import { formatRoute, parseRoute, type Route } from './route';

describe('routes', () => {
  it.each<[Route, string]>([
    [{ page: 'fleet', query: EVERYTHING }, '#/'],
    [{ page: 'fleet', query: { ...EVERYTHING, states: ['failed'], text: 'a b' } }, '#/?state=failed&q=a+b'],
    [{ page: 'host', id: 'host-1' }, '#/hosts/host-1'],
    [{ page: 'microvm', id: '01jd', at: null }, '#/microvms/01jd'],
    [{ page: 'microvm', id: '01jd', at: 1_700_000_000_123.5 }, '#/microvms/01jd?at=1700000000123.5'],
  ])('%j is %s and back', (route, hash) => {
    expect(formatRoute(route)).toBe(hash);
    expect(parseRoute(hash)).toEqual(route);
  });

  it.each(['', '#', '#/nowhere', '#/microvms/', '#/microvms/a/b'])('%j is the fleet', (hash) => {
    expect(parseRoute(hash).page).toBe('fleet');
  });

  it('survives an address that was broken on its way', () => {
    expect(parseRoute('#/microvms/%E0%A4%A?at=soon')).toEqual({ page: 'microvm', id: '%E0%A4%A', at: null });
  });
});
