import { NatsFrames, NotNatsError } from './nats-frames';

const WIRE =
  'INFO {"server_id":"x"}\r\n' +
  'CONNECT {"verbose":false}\r\n' +
  'SUB volley.v1.> 1\r\n' +
  'PUB a.b _INBOX.1 5\r\nhel\r\n\r\n' +
  'HPUB c.d 12 14\r\nNATS/1.0\r\n\r\nhi\r\n' +
  'MSG a.b 1 _INBOX.1 0\r\n\r\n' +
  'hmsg c.d 9 12 12\r\nNATS/1.0\r\n\r\n\r\n' +
  "PING\r\n+OK\r\n-ERR 'x'\r\n";

const VERBS = ['INFO', 'CONNECT', 'SUB', 'PUB', 'HPUB', 'MSG', 'HMSG', 'PING', '+OK', '-ERR'];

describe('frames of NATS', () => {
  it('come whole, with what they carry', () => {
    const frames = new NatsFrames().push(Buffer.from(WIRE));
    expect(frames.map(({ verb }) => verb)).toEqual(VERBS);
    expect(frames.filter(({ payload }) => payload).map(({ subject }) => subject)).toEqual(['a.b', 'c.d', 'a.b', 'c.d']);
    expect(frames[3]!.bytes.toString()).toBe('PUB a.b _INBOX.1 5\r\nhel\r\n\r\n');
  });

  it.each([1, 2, 3, 7, 64])('are the same when the bytes arrive %i at a time', (size) => {
    const parser = new NatsFrames();
    const wire = Buffer.from(WIRE);
    const frames = [];
    for (let at = 0; at < wire.length; at += size) frames.push(...parser.push(wire.subarray(at, at + size)));
    expect(frames.map(({ verb }) => verb)).toEqual(VERBS);
    expect(Buffer.concat(frames.map(({ bytes }) => bytes))).toEqual(wire);
  });

  it.each([
    ['a TLS handshake', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x0d, 0x0a])],
    ['a length that is none', Buffer.from('PUB a b\r\n')],
    ['a line without end', Buffer.alloc(70_000, 0x41)],
  ])('are not found in %s', (_, bytes) => {
    expect(() => new NatsFrames().push(bytes)).toThrow(NotNatsError);
  });
});
