import * as fc from 'fast-check';
import { serverSentEvents, type ServerSentEvent } from './server-sent-events';

const STREAM =
  'retry: 1000\nid: 1.0\n\n: alive\n\nid: 2.0\nevent: microvm\ndata: {"a":\ndata: "ü"}\n\ndata: x\r\n\r\nid: 3.0\n\ndata:y\n\ndata: unfinished';
const EVENTS: ServerSentEvent[] = [
  { id: '2.0', event: 'microvm', data: '{"a":\n"ü"}' },
  { id: '2.0', event: 'message', data: 'x' },
  { id: '3.0', event: 'message', data: 'y' },
];

async function parse(chunks: Uint8Array[]): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  async function* source() {
    yield* chunks;
  }
  for await (const event of serverSentEvents(source())) events.push(event);
  return events;
}

it('gives the same events however the bytes are cut', async () => {
  const bytes = new TextEncoder().encode(STREAM);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      expect(await parse(at.slice(1).map((end, i) => bytes.subarray(at[i], end)))).toEqual(EVENTS);
    }),
  );
});
