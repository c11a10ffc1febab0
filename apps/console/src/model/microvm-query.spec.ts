import { aMicrovm } from './fixtures';
import {
  EVERYTHING,
  SORT_KEYS,
  countStates,
  queryFromSearch,
  queryMicrovms,
  queryToSearch,
  showsAll,
  type MicrovmQuery,
} from './microvm-query';

const started = (ms: number) => ({ requestedAt: 1_000, acceptedAt: 1_001, runningAt: 1_000 + ms });
const fleet = [
  aMicrovm({ id: '01a', name: 'web-1', hostId: 'h1', labels: { app: 'Shop' }, timings: started(9), memoryMiB: 64 }),
  aMicrovm({ id: '01b', name: null, hostId: 'h2', state: 'failed', reason: 'guest panic', memoryMiB: 32 }),
  aMicrovm({ id: '01c', name: 'web-2', hostId: null, state: 'requested', tenant: 'acme', memoryMiB: 64 }),
  aMicrovm({ id: '01d', name: 'db', hostId: 'h1', timings: started(4), memoryMiB: 512 }),
  aMicrovm({ id: '01e', name: 'old', state: 'deleted' }),
];
const ids = (query: Partial<MicrovmQuery>): string[] =>
  queryMicrovms(fleet, { ...EVERYTHING, ...query }).map((microvm) => microvm.id);

describe('queryMicrovms', () => {
  it('shows the living, youngest first', () => expect(ids({})).toEqual(['01d', '01c', '01b', '01a']));

  it('shows the deleted when asked for by state', () => {
    expect(ids({ states: ['deleted'] })).toEqual(['01e']);
    expect(ids({ states: ['failed', 'deleted'] })).toEqual(['01e', '01b']);
  });

  it('filters by host', () => expect(ids({ host: 'h1' })).toEqual(['01d', '01a']));

  it.each([
    ['WEB', ['01c', '01a']],
    ['web 01a', ['01a']],
    ['app=shop', ['01a']],
    ['panic', ['01b']],
    ['acme', ['01c']],
    ['nobody', []],
    ['  ', ['01d', '01c', '01b', '01a']],
  ])('finds %j', (text, expected) => expect(ids({ text })).toEqual(expected));

  it('puts what needs eyes first', () => expect(ids({ sort: 'state' })).toEqual(['01b', '01c', '01a', '01d']));

  it('keeps missing values last in both directions', () => {
    expect(ids({ sort: 'start' })).toEqual(['01d', '01a', '01b', '01c']);
    expect(ids({ sort: 'start', descending: true })).toEqual(['01a', '01d', '01b', '01c']);
    expect(ids({ sort: 'name', descending: true })).toEqual(['01c', '01a', '01d', '01b']);
    expect(ids({ sort: 'host' })).toEqual(['01a', '01d', '01b', '01c']);
  });

  it('orders equals by id, in both directions', () => {
    expect(ids({ sort: 'memory' })).toEqual(['01b', '01a', '01c', '01d']);
    expect(ids({ sort: 'memory', descending: true })).toEqual(['01d', '01a', '01c', '01b']);
  });

  it('does not change what it was given', () => {
    const before = [...fleet];
    for (const sort of SORT_KEYS) queryMicrovms(fleet, { ...EVERYTHING, sort });
    expect(fleet).toEqual(before);
  });
});

describe('the query in the address', () => {
  it('survives the way there and back', () => {
    const query: MicrovmQuery = {
      states: ['running', 'failed'],
      host: 'h-1_x',
      text: 'a=b c&d',
      sort: 'memory',
      descending: true,
    };
    expect(queryFromSearch(new URLSearchParams(queryToSearch(query).toString()))).toEqual(query);
  });

  it('is empty for everything', () => {
    expect(queryToSearch(EVERYTHING).toString()).toBe('');
    expect(queryFromSearch(new URLSearchParams())).toEqual(EVERYTHING);
    expect(showsAll(EVERYTHING)).toBe(true);
    expect(showsAll({ ...EVERYTHING, host: 'h' })).toBe(false);
  });

  it('leaves out what it does not understand', () => {
    expect(queryFromSearch(new URLSearchParams('state=exploded,running&sort=-colour&host='))).toEqual({
      ...EVERYTHING,
      states: ['running'],
    });
  });
});

it('counts states', () => {
  expect(Object.fromEntries(countStates(fleet))).toEqual({ running: 2, failed: 1, requested: 1, deleted: 1 });
});
