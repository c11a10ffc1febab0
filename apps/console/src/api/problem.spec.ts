import { backOff } from './back-off';
import { Problem, problemOf } from './problem';

describe('problemOf', () => {
  it('reads title, detail and the fields', () => {
    const problem = problemOf(
      422,
      JSON.stringify({
        type: 'about:blank',
        title: 'Invalid request',
        status: 422,
        detail: 'memoryMiB is out of range',
        errors: [{ path: 'memoryMiB', message: 'at most 1048576' }, { pointer: '#/labels/a', detail: 'too long' }, 7],
      }),
    );
    expect(problem).toBeInstanceOf(Problem);
    expect(problem).toMatchObject({ status: 422, title: 'Invalid request', detail: 'memoryMiB is out of range' });
    expect(problem.fields).toEqual([
      { path: 'memoryMiB', message: 'at most 1048576' },
      { path: 'labels.a', message: 'too long' },
    ]);
  });

  it.each(['', '<html>bad gateway</html>', '"text"', 'null', '[1'])('makes sense of %j too', (body) => {
    const problem = problemOf(503, body);
    expect(problem.title).toBe('A service did not answer');
    expect(problem.passing).toBe(true);
    expect(problem.message).not.toBe('');
  });
});

describe('backOff', () => {
  it('doubles, stays within its limit and is never immediate', () => {
    expect([1, 2, 3, 4].map((failures) => backOff(failures, 1))).toEqual([500, 1000, 2000, 4000]);
    expect(backOff(1, 0)).toBe(250);
    expect(backOff(1000, 1)).toBe(15_000);
    expect(backOff(0, 0)).toBeGreaterThan(0);
  });

  it('waits as long as the server asks', () => {
    expect(backOff(1, 0, 3000)).toBe(3000);
  });
});
