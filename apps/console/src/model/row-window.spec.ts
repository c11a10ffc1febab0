import fc from 'fast-check';
import { rowWindow, scrollToRow } from './row-window';

const HEIGHT = 28;

describe('rowWindow', () => {
  it('covers the view, keeps the height of the whole, and stays small', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.nat(3_000_000), fc.integer({ min: 1, max: 2_000 }), (rows, scrollTop, view) => {
        const { first, end, above, below } = rowWindow(rows, HEIGHT, scrollTop, view);
        expect(above + (end - first) * HEIGHT + below).toBe(rows * HEIGHT);
        expect(end - first).toBeLessThanOrEqual(Math.ceil(view / HEIGHT) + 18);
        const top = Math.max(0, Math.min(scrollTop, rows * HEIGHT - view));
        expect(above).toBeLessThanOrEqual(top);
        expect(above + (end - first) * HEIGHT).toBeGreaterThanOrEqual(Math.min(top + view, rows * HEIGHT));
      }),
    );
  });
});

it('scrolls no further than needed', () => {
  expect(scrollToRow(5, HEIGHT, 0, 280)).toBe(0);
  expect(scrollToRow(10, HEIGHT, 0, 280)).toBe(28);
  expect(scrollToRow(2, HEIGHT, 280, 280)).toBe(56);
});
