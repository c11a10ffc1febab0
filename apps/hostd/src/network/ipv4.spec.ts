import fc from 'fast-check';
import { slotOf, slotsIn } from '../slots/slot-layout';
import { contains, formatAddress, formatNetwork, overlap, parseAddress, parseNetwork, sizeOf } from './ipv4';
import { chooseLink, LINK_PAIRS } from './link-address';

const pool = parseNetwork('100.64.0.0/16')!;
const slot = (n: number, of = pool) => slotOf(n, { uidBase: 200_000, pool: of });

describe('addresses', () => {
  it('are read as they are written', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (n) => parseAddress(formatAddress(n)) === n));
    for (const bad of ['', '1.2.3', '1.2.3.256', '1.2.3.4.5', 'a.b.c.d', '1.2.3.-4'])
      expect(parseAddress(bad)).toBeUndefined();
    expect(formatNetwork(parseNetwork('10.0.0.0/8')!)).toBe('10.0.0.0/8');
    for (const bad of ['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'x/8'])
      expect(parseNetwork(bad)).toBeUndefined();
    expect(overlap(parseNetwork('10.0.0.0/8')!, parseNetwork('10.1.0.0/16')!)).toBe(true);
    expect(overlap(parseNetwork('10.0.0.0/16')!, parseNetwork('10.1.0.0/16')!)).toBe(false);
  });
});

describe('a slot', () => {
  it('is a function of its number', () => {
    expect(slot(5)).toEqual({
      number: 5,
      uid: 200_005,
      gid: 200_005,
      address: '100.64.0.13',
      gateway: '100.64.0.12',
      mac: '02:00:64:40:00:0d',
      tap: 'vt5',
      cgroup: 's5',
    });
  });

  it('shares nothing with another one, and stays inside the pool, away from the links', () => {
    const small = parseNetwork('10.0.0.0/20')!;
    const count = slotsIn(small, LINK_PAIRS);
    expect(count).toBe(1_023);
    const link = chooseLink(small, 'anything', new Set())!;
    const all = Array.from({ length: count }, (_, n) => slot(n, small));
    const addresses = all.flatMap(({ address, gateway }) => [address, gateway]);
    expect(new Set([...addresses, formatAddress(link), formatAddress(link + 1)]).size).toBe(2 * count + 2);
    expect(addresses.every((address) => contains(small, parseAddress(address)!))).toBe(true);
    expect(new Set(all.map(({ mac }) => mac)).size).toBe(count);
  });
});

describe('a link', () => {
  it('keeps its place as long as nobody has it', () => {
    const first = chooseLink(pool, 'abc', new Set())!;
    expect(chooseLink(pool, 'abc', new Set())).toBe(first);
    expect(chooseLink(pool, 'abc', new Set([first + 1]))).not.toBe(first);
    const all = Array.from({ length: 2 * LINK_PAIRS }, (_, n) => pool.base + sizeOf(pool) - 1 - n);
    expect(chooseLink(pool, 'abc', new Set(all))).toBeUndefined();
  });
});
