import { fold } from './fold';

describe('fold', () => {
  const add = (sum: number, event: number): number => sum + event;

  it('applies every event in order', () => {
    expect(fold((text: string, event: string) => text + event, '', ['a', 'b', 'c'])).toBe('abc');
    expect(fold(add, 7, [])).toBe(7);
  });

  it('stops before the first event that is too late', () => {
    expect(fold(add, 0, [1, 2, 3, 1], (event) => event > 2)).toBe(3);
  });
});
