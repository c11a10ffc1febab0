import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { jetstreamManager, type StreamInfo } from '@nats-io/jetstream';
import { connect } from 'nats';
import { readHistories } from '#chaos';
import { MICROVM_STREAM, type Microvm } from '#protocol';
import { Fleet, until, type ProcessName } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import { VMM_HERE } from '../support/vmm-here';

jest.setTimeout(180_000);

describeWithNats('a fleet on three nats-servers', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await Fleet.upWith(VMM_HERE, '--cluster', '--no-canary');
  });
  afterAll(() => fleet?.down());

  async function streams(): Promise<StreamInfo[]> {
    const nats = await fleet.nats();
    try {
      const jsm = await jetstreamManager(nats);
      const names = [
        'MICROVM_HISTORY',
        'HOST_HISTORY',
        'RECEIPTS',
        'KV_idempotency',
        'KV_images',
        'OBJ_blobs',
        'OBJ_uploads',
      ];
      return await Promise.all(names.map((name) => jsm.streams.info(name)));
    } finally {
      await nats.close();
    }
  }

  it('keeps every stream and bucket on all of them', async () => {
    for (const { config, cluster } of await streams()) {
      expect([config.name, config.num_replicas, cluster?.replicas?.length]).toEqual([config.name, 3, 2]);
    }
  });

  it('does not talk to who is not encrypted, or not of its authority', async () => {
    const { cluster } = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as {
      cluster: { ports: number[]; routePorts: number[] };
    };
    const to = `127.0.0.1:${cluster.ports[0]}`;
    const options = { servers: to, reconnect: false, timeout: 60_000 };
    await expect(connect({ ...options, tls: {} })).rejects.toThrow(/self-signed certificate|certificate/);
    const caFile = join(fleet.data, 'keys/tls/ca.pem');
    // A route: the port where servers believe each other everything wants a certificate of whoever comes.
    const refused = await new Promise<string>((resolve) => {
      const socket = tlsConnect({ port: cluster.routePorts[0]!, host: '127.0.0.1', ca: readFileSync(caFile) });
      socket.once('error', (error) => resolve(error.message));
      socket.once('close', () => resolve('closed'));
      socket.setTimeout(60_000, () => resolve('still open'));
    });
    expect(refused).not.toBe('still open');
  });

  it('loses nothing when the leader of the histories is killed under creates, and goes on', async () => {
    const history = async (): Promise<StreamInfo> =>
      (await streams()).find(({ config }) => config.name === MICROVM_STREAM.name)!;
    let found: string | undefined;
    await until('there is a leader', async () => (found = (await history()).cluster?.leader) !== undefined);
    const leader = found!.replace('volley-', 'nats-server-') as ProcessName;
    const accepted: string[] = [];
    let going = true;
    const create = async (client: number): Promise<void> => {
      for (let n = 0; going; n++) {
        // Named, so that an answer that was lost is asked for again and nothing is made twice.
        const key = { 'idempotency-key': `${client}-${n}` };
        await until(
          `create ${client}-${n} is answered`,
          async () => {
            const body = { image: 'canary', memoryMiB: 16 };
            const answer = await fleet.rest<Microvm>('POST', '/v1/microvms', body, key);
            if (answer.status !== 202 && answer.status !== 201 && answer.status !== 200)
              throw new Error(`${answer.status}`);
            accepted.push(answer.body.id);
            return true;
          },
          60_000,
        );
      }
    };
    const clients = [1, 2, 3, 4].map(create);
    await until('some are accepted', () => Promise.resolve(accepted.length >= 8));
    await fleet.kill9(leader);
    const before = accepted.length;
    await until('the fleet goes on', () => Promise.resolve(accepted.length >= before + 12), 60_000);
    going = false;
    await Promise.all(clients);
    for (const id of accepted) await fleet.reaches(id, 'running', 60_000);

    await until(
      'the killed server is back and has everything',
      async () => {
        const { cluster } = await history();
        return cluster!.replicas!.every(({ current, offline }) => current && offline !== true);
      },
      60_000,
    );
    const nats = await fleet.nats();
    const records = await readHistories(nats, MICROVM_STREAM.name);
    await nats.close();
    const created = records.filter(({ record }) => record.from === null).map(({ record }) => record.microvmId);
    expect(new Set(created)).toEqual(new Set(accepted));
    expect(created).toHaveLength(new Set(accepted).size);
    await fleet.volley('rm', '--force', ...new Set(accepted));
  });

  it('is a cluster still after down and up, also when nobody says so', async () => {
    const { id } = await fleet.running();
    await fleet.volley('down', '--keep-microvms');
    await fleet.up('--no-canary');
    expect((await fleet.status()).processes.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['nats-server-1', 'nats-server-2', 'nats-server-3']),
    );
    expect((await fleet.reaches(id, 'running')).id).toBe(id);
    expect((await streams()).map(({ config }) => config.num_replicas)).toEqual(Array(7).fill(3));
  });
});

describeWithNats('a folder with one nats-server', () => {
  it('is not made a cluster, and says what to do', async () => {
    const fleet = new Fleet();
    try {
      await fleet.up('--no-canary');
      await fleet.volley('down');
      const refused = fleet.up('--cluster');
      await expect(refused).rejects.toMatchObject({
        stderr: expect.stringContaining('take another folder: ./volley up --cluster --data DIR') as string,
      });
      expect(existsSync(join(fleet.data, 'nats-1.conf'))).toBe(false);
    } finally {
      await fleet.down();
    }
  });
});
