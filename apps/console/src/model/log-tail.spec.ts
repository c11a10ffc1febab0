import { EMPTY_LOG, appendLog, readable } from './log-tail';

describe('the log tail', () => {
  it('joins pieces and knows where to go on', () => {
    const first = appendLog(EMPTY_LOG, { text: 'hello\r\n', from: 0, to: 7 });
    const second = appendLog(first, { text: 'world\n', from: 7, to: 13 });
    expect(second).toEqual({ text: 'hello\nworld\n', since: 13, cut: false });
    expect(appendLog(second, { text: '', from: 13, to: 13 })).toEqual(second);
  });

  it('says when something is missing', () => {
    const late = appendLog(EMPTY_LOG, { text: 'end\n', from: 5_000, to: 5_004 });
    expect(late.cut).toBe(true);
    const gap = appendLog(late, { text: 'later\n', from: 6_000, to: 6_006 });
    expect(gap.text).toBe('end\n\n[… not kept by the host …]\nlater\n');
  });

  it('begins anew when the console does', () => {
    const first = appendLog(EMPTY_LOG, { text: 'first life\n', from: 0, to: 11 });
    expect(appendLog(first, { text: 'boot\n', from: 0, to: 5 })).toEqual({ text: 'boot\n', since: 5, cut: false });
  });

  it('stays bounded and cuts at a line', () => {
    let tail = EMPTY_LOG;
    const line = `${'x'.repeat(99)}\n`;
    for (let i = 0; i < 5_000; i++) tail = appendLog(tail, { text: line, from: i * 100, to: i * 100 + 100 });
    expect(tail.text.length).toBeLessThanOrEqual(256 * 1024);
    expect(tail.text.startsWith('x'.repeat(99))).toBe(true);
    expect(tail.cut).toBe(true);
    expect(tail.since).toBe(500_000);
  });

  it('shows what a guest writes without obeying it', () => {
    expect(readable('\u001b[31mred\u001b[0m \u001b]0;title\u0007ok\u0007\ttab\rnext\u0000')).toBe(
      'red ok␇\ttab\nnext␀',
    );
    expect(readable('<img src=x onerror=alert(1)>')).toBe('<img src=x onerror=alert(1)>');
  });
});
