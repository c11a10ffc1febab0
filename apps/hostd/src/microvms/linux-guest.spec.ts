import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFrame, FrameDecoder, GUEST_FRAME, GuestConnectionError, GuestRefusedError } from '#guest';
import type { MicrovmProcess } from '#microvm';
import { MicrovmSpec } from '#protocol';
import { agentOf, tellRestored } from './linux-guest';

const LINUX = MicrovmSpec.parse({ image: `team/app@sha256:${'a'.repeat(64)}` });
const IDENTITY = { hostname: 'one' };

/** What the guest does with the nth connection. */
type Answer = (socket: Socket, body: Buffer) => void;

const refuse = (errno: number): Buffer => {
  const body = Buffer.alloc(4);
  body.writeInt32LE(errno);
  return encodeFrame(GUEST_FRAME.result, Buffer.concat([body, Buffer.from(errno === 0 ? '' : 'it cannot')]));
};

describe('a Linux guest that went on from a snapshot', () => {
  let directory: string;
  let server: Server | undefined;
  const seeds: string[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'volley-linux-guest-'));
    seeds.splice(0);
  });
  afterEach(async () => {
    if (server) await new Promise((resolve) => server!.close(resolve));
    server = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  const process = (): Pick<MicrovmProcess, 'identity'> => ({ identity: { directory } as MicrovmProcess['identity'] });
  const agent = () => agentOf(process(), LINUX)!;

  /** A guest behind its VMM's socket. */
  const guestThat = (...answers: Answer[]): Promise<void> => {
    let next = 0;
    server = createServer((socket) => {
      const answer = answers[Math.min(next++, answers.length - 1)]!;
      const decoder = new FrameDecoder();
      let greeted = false;
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        if (!greeted) {
          greeted = true;
          return void socket.write('OK 1\n');
        }
        for (const { type, body } of decoder.push(chunk)) {
          expect(type).toBe(GUEST_FRAME.restored);
          seeds.push(body.toString('hex', 8, 72));
          answer(socket, body);
        }
      });
    });
    return new Promise((resolve) => server!.listen(join(directory, 'vsock.sock'), resolve));
  };

  it('is told again while its connections break, each time with another seed and the time of then', async () => {
    const times: bigint[] = [];
    await guestThat(
      (socket) => socket.destroy(),
      (socket, body) => (times.push(body.readBigUInt64LE()), socket.end(refuse(0))),
    );
    let now = 1_000;
    await tellRestored(agent(), IDENTITY, () => (now += 1), 10_000);
    expect(times).toEqual([1_002_000_000n]);
    expect(new Set(seeds).size).toBe(2);
  });

  it('that cannot become what it is to be is not asked again', async () => {
    await guestThat((socket) => socket.end(refuse(19)));
    const told = tellRestored(agent(), IDENTITY, () => 0, 10_000);
    await expect(told).rejects.toThrow(GuestRefusedError);
    await expect(told).rejects.toThrow('it cannot');
    expect(seeds).toHaveLength(1);
  });

  it('that is not there is given up in time', async () => {
    await expect(tellRestored(agent(), IDENTITY, () => 0, 100)).rejects.toThrow(GuestConnectionError);
  });

  it('is reached over vsock alone; a guest without init is told nothing', () => {
    expect(() => agentOf(process(), { ...LINUX, vsock: false })).toThrow('it has no vsock device');
    expect(agentOf(process(), MicrovmSpec.parse({ image: 'canary' }))).toBeUndefined();
  });
});
