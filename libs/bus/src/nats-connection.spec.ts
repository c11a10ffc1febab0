import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { usersConfig } from '#access';
import { makeNkey, type Nkey } from '#keys';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { ConfigError } from './config';
import { connectNats, type ConnectOptions } from './nats-connection';
import { natsOptions } from './nats-settings';

const EC = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'.split(' ');

describeWithNats('a connection to NATS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'volley-connection-'));
  const seedFile = join(folder, 'operator.nk');
  const operator = makeNkey();
  let secure: NatsServer;
  let plain: NatsServer;

  beforeAll(async () => {
    hold(operator);
    for (const name of ['server', 'other']) {
      const files = ['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.pem`)];
      const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
      execFileSync('openssl', ['req', '-x509', ...EC, ...files, ...names], { stdio: 'ignore' });
    }
    const users = usersConfig([{ party: 'operator', publicKey: operator.publicKey }]);
    const tls = `tls { cert_file: "${folder}/server.pem", key_file: "${folder}/server.key" }`;
    [secure, plain] = await Promise.all([
      startNatsServer({ jetstream: false, config: `${users}\n${tls}` }),
      startNatsServer({ jetstream: false }),
    ]);
  });
  afterAll(async () => {
    await Promise.all([secure?.stop(), plain?.stop()]);
    rmSync(folder, { recursive: true });
  });

  function hold({ seed }: Nkey): void {
    writeFileSync(seedFile, `${seed}\n`);
    chmodSync(seedFile, 0o600);
  }
  const options = (more: Partial<ConnectOptions> = {}): ConnectOptions => ({
    servers: secure.url,
    name: 'test',
    party: 'operator',
    nkeyFile: seedFile,
    caFile: join(folder, 'server.pem'),
    ...more,
  });

  /** The first reason that is told for not being connected. */
  function whyNot(more: Partial<ConnectOptions>): Promise<string> {
    return new Promise((resolve, reject) => {
      const enough = new AbortController();
      const write = (line: string): void => {
        enough.abort();
        resolve((JSON.parse(line) as { reason: string }).reason);
      };
      const { signal } = enough;
      connectNats(options({ ...more, signal, logger: pino({}, { write }) })).then(async (nc) => {
        await nc.close();
        reject(new Error('it is connected'));
      }, reject);
    });
  }

  it('is made by TLS, with a key, and answers come to inboxes of its own', async () => {
    const nc = await connectNats(options());
    const refused = new Promise((resolve) => nc.subscribe('_INBOX.other.x', { callback: resolve }));
    expect(String(await refused)).toContain('Permissions Violation');
    // The right to ask is there, and the one to listen for the answer: nobody is there to give it.
    await expect(nc.request('volley.v1.microvm.list')).rejects.toThrow('no responders');
    await nc.close();
  });

  it('ends at once with a key that the server does not know', async () => {
    hold(makeNkey());
    await expect(connectNats(options())).rejects.toThrow(/authorization violation/i);
    hold(operator);
  });

  it('tries again when it took too long to show its key: it is not refused', async () => {
    let attempts = 0;
    const slow = createServer((socket) => {
      const late = ++attempts === 1;
      socket.write('INFO {"server_id":"s","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576}\r\n');
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        if (late) socket.end("-ERR 'Authentication Timeout'\r\n");
        else if (String(data).includes('PING')) socket.write('PONG\r\n');
      });
    }).listen(0, '127.0.0.1');
    await once(slow, 'listening');
    const nc = await connectNats({ servers: `127.0.0.1:${(slow.address() as AddressInfo).port}`, name: 'slow' });
    expect(attempts).toBe(2);
    await nc.close();
    slow.close();
  });

  it('waits, and says why: a certificate that is not believed, a server that does not encrypt', async () => {
    expect(await whyNot({ caFile: join(folder, 'other.pem') })).toMatch(/certificate/);
    expect(await whyNot({ servers: plain.url })).toMatch(/tls/i);
  });

  it('is not begun with a key or token that others can read, or that is none', () => {
    const settings = { natsUrl: 'nats://h:1,nats://h:2', natsReplicas: 3 };
    expect(natsOptions({ ...settings, natsNkeyFile: seedFile }, 'operator')).toEqual({
      servers: ['nats://h:1', 'nats://h:2'],
      replicas: 3,
      party: 'operator',
      nkeyFile: seedFile,
    });
    const loose = join(folder, 'loose');
    writeFileSync(loose, operator.seed);
    chmodSync(loose, 0o644);
    for (const file of [{ natsNkeyFile: loose }, { natsTokenFile: loose }, { natsNkeyFile: '/nowhere' }]) {
      expect(() => natsOptions({ ...settings, ...file })).toThrow(ConfigError);
    }
  });
});
