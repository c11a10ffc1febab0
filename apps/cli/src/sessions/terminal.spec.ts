import { EventEmitter } from 'node:events';
import { terminalOf } from './terminal';

const stream = <T extends object>(more: T) => Object.assign(new EventEmitter(), { isTTY: true, ...more });
const input = () => stream({ isRaw: false, setRawMode: () => undefined }) as unknown as NodeJS.ReadStream;

describe('the terminal of a command', () => {
  it('has the size of its window, and tells when that changes', () => {
    const output = stream({ rows: 50, columns: 120 });
    const terminal = terminalOf(input(), output as unknown as NodeJS.WriteStream)!;
    expect([terminal.rows, terminal.columns]).toEqual([50, 120]);
    const sizes: number[][] = [];
    terminal.onResize((...size) => sizes.push(size));
    output.rows = 20;
    output.emit('resize');
    terminal.restore();
    output.emit('resize');
    expect(sizes).toEqual([[20, 120]]);
  });

  it('has the usual size when it has no window', () => {
    const terminal = terminalOf(input(), stream({ rows: 0, columns: 0 }) as unknown as NodeJS.WriteStream)!;
    expect([terminal.rows, terminal.columns]).toEqual([24, 80]);
  });

  it('is none when input or output is something else', () => {
    expect(terminalOf(input(), { isTTY: false } as NodeJS.WriteStream)).toBeUndefined();
  });
});
