import { chmodSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { PermissionViolationError, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { BusClient } from '#bus';
import * as protocol from '#protocol';
import {
  heartbeat,
  INTERNAL_OPERATIONS,
  MICROVM_STREAM,
  microvmHistory,
  OPERATOR_OPERATIONS,
  readBlob,
  registerHost,
  reportFact,
  type HostDescription,
} from '#protocol';
import { Fleet, until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import { VMM_HERE } from '../support/vmm-here';

jest.setTimeout(120_000);

const CAPTURED = 'captured';
const SERVICES = ['controller', 'placement', 'images', 'gateway'] as const;

/** What a host's key is for, written down here by hand: everything else must be refused. */
const OWN = (suffix: string) => `volley.v1.hosts.${CAPTURED}.${suffix}`;
const MAY_PUBLISH = [
  'register',
  'heartbeat',
  'fact',
  'blob',
  'density',
  'samples',
  'sessions.x.client',
  'templates',
  ...['content', 'lacking', 'piece', 'publish', 'put', 'putWorkingSet', 'workingSet'].map((of) => `template.${of}`),
  'class',
  'guards',
  'stale',
  'wake',
].map(OWN);
const MAY_HEAR = [
  ...['command', 'log', 'measure', 'session', 'tune', 'sessions.x.guest', 'templatesChanged', 'classChanged'].map(OWN),
  `_INBOX.host-${CAPTURED}.x`,
];

/** Every subject of the protocol: operations, messages, what is stored, for our own host, another one, and all. */
function protocolSubjects(): string[] {
  const hosts = [CAPTURED, 'other'];
  const operations = [...OPERATOR_OPERATIONS, ...INTERNAL_OPERATIONS].map(({ subject }) => subject);
  const fill = (subject: string): string[] =>
    hosts.map((host) => subject.replaceAll('{hostId}', host).replace(/\{\w+\}/g, 'x'));
  const messages = hosts.flatMap((host) => [
    protocol.densityReport(host),
    protocol.microvmSamples(host),
    protocol.sessionToGuest(host, 'x'),
    protocol.sessionToClient(host, 'x'),
  ]);
  const streams = stored('STREAM') as { subjects: readonly string[] }[];
  const histories = streams.flatMap(({ subjects }) =>
    subjects.map((subject) => subject.replace('>', 'x.y').replace('*', 'x')),
  );
  const buckets = (stored('BUCKET') as { name: string }[]).flatMap(({ name }) => [
    `$KV.${name}.x`,
    `$O.${name}.C.x`,
    `$O.${name}.M.x`,
  ]);
  const answers = [...SERVICES, 'operator', 'auditor', 'host-other'].map((name) => `_INBOX.${name}.x`);
  const all = [...operations.flatMap(fill), ...messages, ...histories, ...buckets, ...answers];
  return [...new Set([...all, protocol.placementAnswers('x'), 'volley.v1.hosts.other.anything', '_INBOX.x', 'x'])];
}

const publish = (nats: NatsConnection, subject: string): void => nats.publish(subject, '{}');
const listen = (nats: NatsConnection, subject: string): void =>
  void nats.subscribe(subject, { callback: () => undefined });

function stored(kind: 'STREAM' | 'BUCKET'): unknown[] {
  return Object.entries(protocol)
    .filter(([name]) => name.endsWith(`_${kind}`))
    .map(([, value]) => value);
}

/** The whole API of JetStream, for every stream and bucket there is. */
function jetstreamSubjects(): string[] {
  const names = [
    ...(stored('STREAM') as { name: string }[]).map(({ name }) => name),
    ...(stored('BUCKET') as { name: string }[]).flatMap(({ name }) => [`KV_${name}`, `OBJ_${name}`]),
    'NEW',
  ];
  const verbs = [
    ...['CREATE', 'UPDATE', 'INFO', 'DELETE', 'PURGE', 'SNAPSHOT', 'RESTORE', 'MSG.GET', 'MSG.DELETE'].map(
      (v) => `STREAM.${v}.$`,
    ),
    ...['STREAM.PEER.REMOVE.$', 'STREAM.LEADER.STEPDOWN.$', 'DIRECT.GET.$', 'DIRECT.GET.$.x.y'],
    ...['CONSUMER.CREATE.$', 'CONSUMER.CREATE.$.c', 'CONSUMER.CREATE.$.c.f', 'CONSUMER.DURABLE.CREATE.$.c'],
    ...['CONSUMER.INFO.$.c', 'CONSUMER.DELETE.$.c', 'CONSUMER.MSG.NEXT.$.c', 'CONSUMER.LIST.$', 'CONSUMER.NAMES.$'],
  ];
  return [
    ...names.flatMap((name) => [
      ...verbs.map((verb) => `$JS.API.${verb.replace('$', name)}`),
      `$JS.FC.${name}.c.x`,
      `$JS.ACK.${name}.c.1.1.1.1.1`,
    ]),
    ...['INFO', 'STREAM.LIST', 'STREAM.NAMES', 'STREAM.TEMPLATE.CREATE.x', 'META.LEADER.STEPDOWN', 'SERVER.REMOVE'].map(
      (verb) => `$JS.API.${verb}`,
    ),
    ...['$SYS.REQ.SERVER.PING', '$SYS.REQ.ACCOUNT.PING.CONNZ', '$SYS.ACCOUNT.x.y', '$JS.EVENT.x'],
  ];
}

describeWithNats('the keys of a fleet', () => {
  let fleet: Fleet;
  const open: NatsConnection[] = [];

  beforeAll(async () => {
    fleet = await Fleet.upWith(VMM_HERE, '--no-canary');
    await fleet.volley('keys', 'add', `host-${CAPTURED}`);
  });
  afterEach(async () => {
    for (const nats of open.splice(0)) await nats.close();
  });
  afterAll(() => fleet?.down());

  async function connected(party: Parameters<Fleet['nats']>[0]): Promise<NatsConnection> {
    const nats = await fleet.nats(party);
    open.push(nats);
    return nats;
  }
  const bus = (nats: NatsConnection) => new BusClient(nats, pino({ level: 'silent' }));
  const captured = () => connected({ hostId: CAPTURED });

  /** Those of the subjects that the server refuses when we do this with each. */
  async function refused(
    nats: NatsConnection,
    act: (nats: NatsConnection, subject: string) => void,
    subjects: string[],
  ): Promise<Set<string>> {
    const found = new Set<string>();
    const status = nats.status();
    const reading = (async () => {
      for await (const event of status)
        if (event.type === 'error' && event.error instanceof PermissionViolationError) found.add(event.error.subject);
    })();
    for (const subject of subjects) act(nats, subject);
    await nats.flush();
    await nats.close();
    await reading;
    return found;
  }

  it('lets a host publish on its own subjects, and on no other of the protocol or of JetStream', async () => {
    const subjects = [...new Set([...protocolSubjects(), ...jetstreamSubjects(), ...MAY_PUBLISH])];
    expect(subjects.length).toBeGreaterThan(400);
    const found = await refused(await captured(), publish, subjects);
    expect(subjects.filter((subject) => !found.has(subject)).sort()).toEqual([...MAY_PUBLISH].sort());
  });

  it('lets a host hear its own orders and answers, and nothing else, by no wildcard either', async () => {
    const wild = [
      '>',
      '*',
      'volley.>',
      'volley.v1.hosts.>',
      'volley.v1.hosts.*.command',
      '_INBOX.>',
      '_INBOX.*.>',
      '$JS.>',
      '$SYS.>',
    ];
    const subjects = [...new Set([...protocolSubjects(), ...jetstreamSubjects(), ...MAY_HEAR, ...wild])];
    const found = await refused(await captured(), listen, subjects);
    expect(subjects.filter((subject) => !found.has(subject)).sort()).toEqual([...MAY_HEAR].sort());
  });

  it('lets it do its work: register, renew its lease, ask for images', async () => {
    const host = bus(await captured());
    const values = { hostId: CAPTURED };
    const description = { ...(await describedHost()), hostId: CAPTURED };
    const registered = await host.call(registerHost, { description, inventory: [] }, { values });
    expect(registered.state).toBe('ready');
    expect(await host.call(heartbeat, { hostId: CAPTURED, at: Date.now() }, { values })).toMatchObject({
      unknown: false,
    });
    const digest = `sha256:${'0'.repeat(64)}`;
    await expect(host.call(readBlob, { digest }, { values })).rejects.toMatchObject({ code: 'notFound' });
  });

  async function describedHost(): Promise<HostDescription> {
    const { body } = await fleet.rest<{ items: { id: string; description: HostDescription }[] }>('GET', '/v1/hosts');
    return body.items.find(({ id }) => id !== CAPTURED)!.description;
  }

  it('takes from it no fact about another host, and writes down that it tried', async () => {
    const microvm = await fleet.running();
    const host = bus(await captured());
    const exit = { reason: 'killed', message: 'says a forger', at: Date.now() } as const;
    const fact = { type: 'exited', hostId: microvm.hostId!, epoch: microvm.epoch!, exit } as const;
    const report = { factId: 'forged', microvmId: microvm.id, at: Date.now(), fact };
    const as = (hostId: string, deadlineMs: number) =>
      host.call(reportFact, report, { values: { hostId }, deadlineMs });
    await expect(as(CAPTURED, 60_000)).rejects.toMatchObject({ code: 'forbidden' });
    await expect(as(microvm.hostId!, 2_000)).rejects.toThrow(); // refused by the server: the controller never sees it
    expect((await fleet.get(microvm.id)).state).toBe('running');
    await until('it is audited', async () => {
      const { body } = await fleet.rest<{ items: { ids: Record<string, string> }[] }>(
        'GET',
        '/v1/audit?event=forgedFact',
      );
      return body.items.some(({ ids }) => ids['host'] === CAPTURED && ids['claimedHost'] === microvm.hostId);
    });
  });

  it('does not let it have others write for it: neither a service that answers, nor JetStream', async () => {
    const { id } = await fleet.running();
    const history = async () => {
      const jsm = await jetstreamManager(await connected('auditor'));
      const { state } = await jsm.streams.info(MICROVM_STREAM.name, { subjects_filter: microvmHistory(id) });
      return state.subjects?.[microvmHistory(id)];
    };
    const before = await history();
    const forger = await captured();
    const beat = JSON.stringify({ hostId: CAPTURED, at: Date.now() });
    forger.publish(OWN('heartbeat'), beat, { reply: microvmHistory(id) });
    forger.publish(OWN('blob'), '{}', { reply: microvmHistory(id) });
    await forger.flush();
    await until('it is written down', () => Promise.resolve(/"event":"forgedReply"/.test(fleet.logs(200))));
    expect(await history()).toBe(before);
  });

  it.each(['placement', 'images', 'gateway', 'operator', 'auditor'] as const)(
    'does not let %s append to a history, or take anything out of one',
    async (party) => {
      const subjects = [
        'volley.history.microvm.1.x',
        'volley.history.host.x',
        ...(party === 'placement' ? [] : ['volley.receipts.x']),
        ...['PURGE', 'DELETE', 'UPDATE', 'MSG.DELETE'].map((verb) => `$JS.API.STREAM.${verb}.${MICROVM_STREAM.name}`),
      ];
      const connection = await connected(party);
      expect([...(await refused(connection, publish, subjects))].sort()).toEqual(subjects.sort());
    },
  );

  it('are read by their owner alone, and a service does not start with one that others can read', async () => {
    const seed = join(fleet.data, 'keys/controller.nk');
    expect([statSync(join(fleet.data, 'keys')).mode & 0o777, statSync(seed).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(readFileSync(join(fleet.data, 'nats.conf'), 'utf8')).not.toMatch(/\bSU[A-Z2-7]{56}\b/);
    chmodSync(seed, 0o644);
    try {
      await fleet.kill9('volley-controller');
      await until('it says why', () => Promise.resolve(fleet.logs(5).includes(`run: chmod 600`)));
    } finally {
      chmodSync(seed, 0o600);
    }
    await until('it is back', async () => (await fleet.rest('GET', '/readyz')).status === 200);
  });

  it('are replaced while everything goes on', async () => {
    const before = (await fleet.status()).processes;
    const names = [...SERVICES, `host-${(await describedHost()).hostId}`];
    await fleet.volley('keys', 'rotate', ...names, '--overlap', '1ms');
    await fleet.volley('keys', 'prune');
    const { items } = JSON.parse((await fleet.volley('keys', 'list', '--json')).stdout) as {
      items: { name: string; retiresAt?: number }[];
    };
    expect(items.filter(({ retiresAt }) => retiresAt !== undefined)).toEqual([]);
    await until('everybody is back with its new key', async () => (await fleet.rest('GET', '/readyz')).status === 200);
    await until('a microVM is made', async () => (await fleet.running()).state === 'running');
    expect((await fleet.status()).processes).toEqual(before);
  });

  it('are taken away: whoever has one is thrown out and let in no more', async () => {
    const host = await captured();
    const closed = host.closed();
    await fleet.volley('keys', 'remove', `host-${CAPTURED}`);
    expect(String(await closed)).toMatch(/authorization/i);
    open.pop();
  });
});
