import fc from 'fast-check';
import { EventHeap } from './event-heap';

describe('EventHeap', () => {
  it('gives the earliest first, and at one instant the one that was put in first', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 })), (times) => {
        const heap = new EventHeap<number>();
        times.forEach((at, i) => heap.push(at, i));
        const out = [];
        for (let next = heap.pop(); next; next = heap.pop()) out.push([next.at, next.item]);
        expect(out).toEqual(times.map((at, i) => [at, i]).sort(([a, i], [b, j]) => a! - b! || i! - j!));
        expect(heap.size).toBe(0);
      }),
    );
  });
});
