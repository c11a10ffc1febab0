import * as fc from 'fast-check';
import { svgOf, ticksUpTo } from './svg-plot';

describe('a plot', () => {
  it('has ticks at round numbers that reach over all values', () => {
    expect(ticksUpTo(4_000)).toEqual([0, 1_000, 2_000, 3_000, 4_000]);
    expect(ticksUpTo(0.07)).toEqual([0, 0.02, 0.04, 0.06, 0.08]);
    expect(ticksUpTo(0)).toEqual(ticksUpTo(1));
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (most) => {
        const ticks = ticksUpTo(most);
        expect(ticks.length).toBeGreaterThan(2);
        expect(ticks.length).toBeLessThan(12);
        expect(ticks.at(-1)).toBeGreaterThanOrEqual(most * 0.999_999);
      }),
    );
  });

  it('draws every point within its frame, and says what is on the axes', () => {
    const points = [
      [0, 0],
      [4_000, 5],
    ] as const;
    const axes = { x: { label: 'microVMs' }, y: { label: 'ms' } };
    const svg = svgOf([
      { title: 'a < b', ...axes, series: [{ name: 'p50', points }] },
      { title: 'empty', ...axes, series: [] },
    ]);
    for (const word of ['a &lt; b', 'microVMs', '>ms<', 'p50', 'empty']) expect(svg).toContain(word);
    const drawn = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);
    expect(drawn).toEqual([
      [72, 264],
      [736, 40],
    ]);
    expect(svg).not.toContain('NaN');
  });
});
