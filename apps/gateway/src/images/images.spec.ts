import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { jetstreamManager } from '@nats-io/jetstream';
import { connectNats } from '#bus';
import { UploadStore } from '#images';
import type { NatsConnection } from 'nats';
import { Image, ImageJob } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { ask, gatewayUnderTest, TOKEN, type GatewayUnderTest } from '../testing/gateway-under-test';
import { DIGEST, kernelImage, ScriptedImages } from '../testing/scripted-images';

const FILE = { 'content-type': 'application/octet-stream' };
const MOST = 3_000_000;

describeWithNats('images over REST', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let images: ScriptedImages;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-images' });
    images = await ScriptedImages.start(nc);
    gateway = await gatewayUnderTest(server.url, { maxUploadBytes: MOST });
  });
  afterAll(async () => {
    await gateway?.close();
    await images?.stop();
    await nc?.close();
    await server?.stop();
  });

  const upload = (id: string, body: Uint8Array, headers: Record<string, string> = FILE) =>
    fetch(`${gateway.url}/v1/uploads/${id}`, {
      method: 'PUT',
      body,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    });
  const stored = async (): Promise<number> =>
    (await (await jetstreamManager(nc)).streams.info('OBJ_uploads')).state.messages;

  it('are imported by a job', async () => {
    const body = {
      name: 'team/worker:3',
      source: { type: 'registry', reference: 'registry.example/team/worker:3', username: 'u', password: 'p' },
      expectedDigest: DIGEST,
      kernel: 'debian-kernel',
    };
    const answer = await gateway.request('/v1/images', { method: 'POST', body });
    expect(answer.status).toBe(202);
    expect(images.requests.at(-1)).toEqual({ ...body, source: { ...body.source, insecure: false }, by: 'operator' });
    const location = answer.headers.get('location')!;
    expect(location).toBe(`/v1/image-jobs/${ImageJob.parse(answer.json).id}`);
    expect((await gateway.request(`${location}?wait=20s`)).json).toMatchObject({
      state: 'done',
      name: 'team/worker:3',
    });
    expect(images.requests.at(-1)).toMatchObject({ waitMs: 20_000 });
    expect((await gateway.request('/v1/image-jobs/nobody')).status).toBe(404);
    expect((await gateway.request(`${location}?wait=60s`)).status).toBe(422);
  });

  it('are listed, read and removed', async () => {
    await images.directory.put(kernelImage('other'));
    const { json } = await gateway.request('/v1/images');
    expect(json.items.map((image: unknown) => Image.parse(image).name)).toEqual(['other', 'team/worker:3']);
    const path = `/v1/images/${encodeURIComponent('team/worker:3')}`;
    expect((await gateway.request(path)).json).toEqual(json.items[1]);
    expect((await gateway.request(path, { method: 'DELETE' })).json).toEqual({ removed: true });
    expect((await gateway.request(path, { method: 'DELETE' })).status).toBe(404);
    expect((await gateway.request(path)).status).toBe(404);
    expect((await gateway.request('/v1/images/No%20Such')).status).toBe(404);
  });

  it('are collected', async () => {
    expect((await gateway.request('/v1/images/collect', { method: 'POST' })).json).toEqual({
      blobs: 1,
      bytes: 30,
      kept: 4,
    });
    const dry = await gateway.request('/v1/images/collect', { method: 'POST', body: { dryRun: true } });
    expect(dry.json).toMatchObject({ blobs: 2 });
  });

  it.each<[string, object]>([
    ['no source', { name: 'x' }],
    ['a name that is none', { name: 'X Y', source: { type: 'debian-kernel' } }],
    ['a source of no known kind', { name: 'x', source: { type: 'floppy' } }],
    ['a digest that is none', { name: 'x', source: { type: 'debian-kernel' }, expectedDigest: 'sha256:1' }],
    ['a field nobody knows', { name: 'x', source: { type: 'debian-kernel' }, force: true }],
  ])('are not imported with %s', async (_, body) => {
    expect((await gateway.request('/v1/images', { method: 'POST', body })).status).toBe(422);
  });

  it('say who is away', async () => {
    await images.stop();
    try {
      const answer = await gateway.request('/v1/images', {
        method: 'POST',
        body: { name: 'x', source: { type: 'debian-kernel' } },
      });
      expect(answer.status).toBe(503);
    } finally {
      images = await ScriptedImages.start(nc);
    }
  });

  describe('from files that are uploaded', () => {
    it.each([0, 1, 2_500_000])('of %i bytes', async (size) => {
      const content = randomBytes(size);
      const answer = await upload('mine', content);
      expect(answer.status).toBe(200);
      const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
      expect(await answer.json()).toEqual({ id: 'mine', digest, bytes: size });
      const uploads = await UploadStore.open(nc);
      await uploads.remove('mine');
    });

    it('but not when they are too large, said before or seen on the way; nothing stays of them', async () => {
      const content = randomBytes(MOST + 1);
      const said = await upload('large', content);
      expect(said.status).toBe(413);
      expect(((await said.json()) as { detail: string }).detail).toContain(String(MOST));
      const { hostname, port } = new URL(gateway.url);
      const socket = connect(Number(port), hostname);
      socket.write(
        `PUT /v1/uploads/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n`,
      );
      socket.on('error', () => undefined);
      socket.write(
        Buffer.concat([Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from('\r\n0\r\n\r\n')]),
      );
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1.1 413 /);
      socket.destroy();
      expect(await stored()).toBe(0);
    });

    it('and nothing stays of one that breaks off', async () => {
      const { hostname, port } = new URL(gateway.url);
      const socket = connect(Number(port), hostname);
      socket.write(
        `PUT /v1/uploads/half HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/octet-stream\r\nContent-Length: 2000000\r\n\r\n`,
      );
      socket.write(randomBytes(1_000_000));
      while ((await stored()) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      socket.destroy();
      while ((await stored()) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await (await UploadStore.open(nc)).remove('half')).toBe(false);
    });

    it('as files only, by the operator only, under names that may be', async () => {
      expect((await upload('x', Buffer.from('{}'), { 'content-type': 'application/json' })).status).toBe(415);
      expect((await upload('x', Buffer.from('{}'), {})).status).toBe(415);
      expect((await upload('a.b', Buffer.from('x'))).status).toBe(404);
      expect(
        (await ask(`${gateway.url}/v1/uploads/x`, { method: 'PUT', body: 'x', headers: FILE, token: null })).status,
      ).toBe(401);
      const json = await gateway.request('/v1/images', { method: 'POST', body: 'x', headers: FILE });
      expect(json.status).toBe(415);
    });
  });
});
