import { connect, type NatsConnection } from 'nats';
import { microvmHistory, sortableId } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { openMicrovmJournal } from './journals';

describeWithNats('the journal of microVMs', () => {
  let server: NatsServer;
  let nc: NatsConnection;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url });
  });
  afterAll(async () => {
    await nc.close();
    await server.stop();
  });

  const subject = microvmHistory(sortableId(1, new Uint8Array(10)));

  it('skips what is no record, and ends at what only a newer program can read', async () => {
    const skipped: unknown[] = [];
    const journal = await openMicrovmJournal(nc, ({ error }) => skipped.push(error));
    const publish = (record: unknown) => nc.request(subject, JSON.stringify(record), { timeout: 20_000 });
    await publish({ what: 'ever' });
    expect((await journal.read(subject)).entries).toEqual([]);
    expect(skipped).toHaveLength(1);
    await publish({ machine: 99, anything: 'new' });
    const failure = await new Promise<Error>((resolve) => journal.follow({ onRecord: () => {}, onFailure: resolve }));
    expect(failure).toMatchObject({ name: 'NewerMachineError', machine: 99 });
    expect(failure.message).toContain('install the version');
    await expect(journal.read(subject)).rejects.toThrow('machine 99');
  });
});
