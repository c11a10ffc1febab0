import { duplexPair } from 'node:stream';
import type { Duplex } from 'node:stream';
import { describeWithInit, startGuestAgent, type GuestAgentProcess } from '../../../test/support/guest-agent';
import { GuestConnectionError, GuestRefusedError, GuestRequestError } from './errors';
import { encodeFrame, FrameDecoder, GUEST_FRAME } from './frame';
import { GuestAgent } from './guest-agent';
import { GuestHold } from './guest-hold';
import { encodeRestored, GUEST_SEED_BYTES, type RestoredGuest } from './restored';
import { connectToGuest } from './vsock-connection';

const result = (errno: number, sentence = ''): Buffer => {
  const body = Buffer.alloc(4 + sentence.length);
  body.writeInt32LE(errno);
  body.write(sentence, 4);
  return encodeFrame(GUEST_FRAME.result, body);
};

describe('holding the programs of a guest', () => {
  let host: Duplex;
  let guest: Duplex;
  beforeEach(() => {
    [host, guest] = duplexPair();
  });
  afterEach(() => {
    host.destroy();
    guest.destroy();
  });

  /** The next frame that the guest gets. */
  const heard = async (): Promise<number> => {
    for await (const chunk of guest.iterator({ destroyOnReturn: false })) {
      const [frame] = new FrameDecoder().push(chunk as Buffer);
      return frame!.type;
    }
    throw new Error('the host closed');
  };

  it('lasts until it is released, and release waits until they go on', async () => {
    const holding = GuestHold.begin(host, 1_000);
    expect(await heard()).toBe(GUEST_FRAME.hold);
    guest.write(result(0, 'vdc vdd'));
    const hold = await holding;
    expect(hold.unusedDisks).toEqual(['vdc', 'vdd']);
    let closed = false;
    guest.on('end', () => (closed = true)).resume();
    await new Promise(setImmediate);
    expect([closed, host.destroyed]).toEqual([false, false]);
    let released = false;
    const releasing = hold.release(60_000).then(() => (released = true));
    while (!closed) await new Promise(setImmediate);
    expect(released).toBe(false);
    guest.end();
    await releasing;
    expect(host.destroyed).toBe(true);
  });

  it('gives up a guest that stands still itself', async () => {
    const holding = GuestHold.begin(host, 1_000);
    guest.write(result(0));
    await (await holding).release(1);
    expect(host.destroyed).toBe(true);
  });

  it('is refused with the sentence of the guest', async () => {
    const holding = GuestHold.begin(host, 1_000);
    guest.write(result(16, 'one does not come to rest'));
    await expect(holding).rejects.toThrow(GuestRefusedError);
    await expect(holding).rejects.toThrow('one does not come to rest');
    expect(host.destroyed).toBe(true);
  });

  it.each([
    ['closes', (): void => void guest.end()],
    ['says nothing', (): void => undefined],
  ])('fails when the guest %s', async (_how, act) => {
    const holding = GuestHold.begin(host, 50);
    act();
    await expect(holding).rejects.toThrow(GuestConnectionError);
  });
});

describe('what a restored guest is told', () => {
  const restored: RestoredGuest = {
    identity: {
      hostname: 'one',
      interfaces: [{ mac: '02:00:00:00:00:01', address: '10.0.0.3', prefix: 31, gateway: '10.0.0.2' }],
      dns: ['192.0.2.1'],
    },
    timeNs: 1_950_000_000_000_000_001n,
    seed: Buffer.alloc(GUEST_SEED_BYTES, 7),
  };

  it('is time, seed, and who it is', () => {
    const body = encodeRestored(restored);
    expect(body.readBigUInt64LE()).toBe(restored.timeNs);
    expect(body.subarray(8, 72)).toEqual(restored.seed);
    expect(body.toString('utf8', 72).split('\0')).toEqual([
      ...['hostname', 'one', 'net', '02:00:00:00:00:01 10.0.0.3/31 10.0.0.2 0', 'dns', '192.0.2.1', ''],
    ]);
  });

  it('has a seed of its length', () => {
    expect(() => encodeRestored({ ...restored, seed: Buffer.alloc(8) })).toThrow(GuestRequestError);
  });

  describeWithInit('by an agent that is in no guest', () => {
    let agent: GuestAgentProcess;
    beforeAll(async () => {
      agent = await startGuestAgent();
    });
    afterAll(() => agent?.stop());

    it('is refused: this machine is left as it is', async () => {
      const guest = new GuestAgent(() => connectToGuest(agent.vsockPath));
      await expect(guest.hold()).rejects.toMatchObject({ code: 'EPERM' });
      await expect(guest.restored(restored)).rejects.toMatchObject({ code: 'EPERM' });
    });
  });
});
