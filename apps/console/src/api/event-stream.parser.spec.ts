import { EventStreamParser } from './event-stream.parser';

const EVENT = 'event: microvm\nid: 41\ndata: {"a":1}\n\n';

describe('EventStreamParser', () => {
  it('reads type, data and id', () => {
    const parser = new EventStreamParser();
    expect(parser.push(EVENT)).toEqual([{ type: 'microvm', data: '{"a":1}' }]);
    expect(parser.lastEventId).toBe('41');
  });

  it('gives the same events wherever the stream is cut', () => {
    const text = `: hello\nretry: 1500\n\n${EVENT}event: host\r\nid: 42\r\ndata: one\r\ndata: two\r\n\r\ndata\rdata: x\r\r`;
    const whole = new EventStreamParser();
    const expected = whole.push(text);
    expect(expected).toEqual([
      { type: 'microvm', data: '{"a":1}' },
      { type: 'host', data: 'one\ntwo' },
      { type: 'message', data: '\nx' },
    ]);
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new EventStreamParser();
      expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))]).toEqual(expected);
      expect(parser.lastEventId).toBe('42');
      expect(parser.retryMs).toBe(1500);
    }
    const slowly = new EventStreamParser();
    expect([...text].flatMap((character) => slowly.push(character))).toEqual(expected);
  });

  it('does not move the id before the event is complete, so a broken stream resumes before it', () => {
    const parser = new EventStreamParser('7');
    expect(parser.push('id: 8\ndata: half')).toEqual([]);
    expect(parser.lastEventId).toBe('7');
    expect(parser.push('\n\n')).toEqual([{ type: 'message', data: 'half' }]);
    expect(parser.lastEventId).toBe('8');
  });

  it('takes an id without data as a position, not as an event', () => {
    const parser = new EventStreamParser();
    expect(parser.push('id: m9-h2\n\n')).toEqual([]);
    expect(parser.lastEventId).toBe('m9-h2');
  });

  it('ignores comments, unknown fields, a byte order mark and bad retry values', () => {
    const parser = new EventStreamParser();
    expect(parser.push('\uFEFFdata: 1\n:keep-alive\ncolour: blue\nretry: soon\n\n')).toEqual([
      { type: 'message', data: '1' },
    ]);
    expect(parser.retryMs).toBeNull();
  });

  it('strips only one space after the colon', () => {
    expect(new EventStreamParser().push('data:  two\n\ndata:none\n\n')).toEqual([
      { type: 'message', data: ' two' },
      { type: 'message', data: 'none' },
    ]);
  });
});
