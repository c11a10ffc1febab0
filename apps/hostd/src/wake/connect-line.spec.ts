import fc from 'fast-check';
import { parseConnectLine } from './connect-line';

describe('the first line of a connection to a guest', () => {
  it.each([
    ['CONNECT 1024\n', 1024],
    ['CONNECT 0\n', 0],
    ['CONNECT 4294967294\n', 4_294_967_294],
    [`CONNECT ${'7'.padStart(23, '0')}\n`, 7],
    ['', 'incomplete'],
    ['CONN', 'incomplete'],
    ['CONNECT ', 'incomplete'],
    ['CONNECT 10', 'incomplete'],
    ['CONNECT \n', 'wrong'],
    ['CONNECT 4294967295', 'wrong'],
    [`CONNECT ${'0'.repeat(24)}`, 'wrong'],
    ['CONNECT -1\n', 'wrong'],
    ['CONNECT 1 \n', 'wrong'],
    ['connect 1\n', 'wrong'],
    ['GET / HTTP/1.1', 'wrong'],
  ])('%j is %p', (said, expected) => {
    expect(parseConnectLine(said)).toBe(expected);
  });

  it('is told as early as it can be: what begins a right line is incomplete, and nothing grows beyond what a line may have', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_fffe }), (port) => {
        const line = `CONNECT ${port}\n`;
        for (let end = 0; end < line.length; end++) expect(parseConnectLine(line.slice(0, end))).toBe('incomplete');
        expect(parseConnectLine(line)).toBe(port);
      }),
    );
    fc.assert(
      fc.property(fc.string({ minLength: 32, unit: fc.constantFrom(...'CONECT 0123456789x') }), (said) => {
        expect(parseConnectLine(said)).toBe('wrong');
      }),
    );
  });
});
