import * as protocol from '#protocol';
import { INTERNAL_OPERATIONS, OPERATOR_OPERATIONS } from '#protocol';
import {
  BROADCASTS,
  CONVERSATIONS,
  inboxOf,
  kindOf,
  nameOf,
  PARTIES,
  partyNamed,
  permissionsOf,
  SERVICES,
  STORES,
  type Party,
} from '.';

const HOST: Party = { hostId: 'h1' };
const EVERYBODY: readonly Party[] = [...PARTIES, HOST, { hostId: 'h2' }];

/** Whether a subject, which may have wildcards, is wholly within a pattern: what nats-server asks. */
function within(subject: string, pattern: string): boolean {
  const [tokens, wanted] = [subject.split('.'), pattern.split('.')];
  for (const [at, want] of wanted.entries()) {
    if (want === '>') return tokens.length > at;
    if (tokens[at] === undefined || (want === '*' ? tokens[at] === '>' : tokens[at] !== want)) return false;
  }
  return tokens.length === wanted.length;
}
const mayPublish = (party: Party, subject: string) => permissionsOf(party).publish.some((one) => within(subject, one));
const mayHear = (party: Party, subject: string) => permissionsOf(party).subscribe.some((one) => within(subject, one));
const of = (subject: string, hostId: string) => subject.replaceAll('{hostId}', hostId).replace(/\{\w+\}/g, 'c1');

describe('the catalogue', () => {
  it.each([...OPERATOR_OPERATIONS, ...INTERNAL_OPERATIONS].map((operation) => [operation.subject, operation] as const))(
    'says who asks and who answers %s (libs/access/src/conversations.ts)',
    (_, operation) => {
      const found = CONVERSATIONS.filter((one) => one.operation === operation);
      expect(found).toHaveLength(1);
      for (const party of [...found[0]!.callers, ...found[0]!.answerers]) expect([...PARTIES, 'host']).toContain(party);
    },
  );

  const stored = Object.entries(protocol).filter(([name]) => /_(BUCKET|STREAM)$/.test(name));
  it.each(stored)('says who writes %s (libs/access/src/stores.ts)', (_, value) => {
    const { name } = value as { name: string };
    const found = STORES.filter(({ stream }) => [name, `KV_${name}`, `OBJ_${name}`].includes(stream));
    expect(found).toHaveLength(1);
    expect(found[0]!.writers.length).toBeGreaterThan(0);
  });
});

describe('a host', () => {
  it('asks and answers below its own name, and nowhere else', () => {
    for (const { operation, callers, answerers } of CONVERSATIONS) {
      expect(mayPublish(HOST, of(operation.subject, 'h1'))).toBe(callers.includes('host'));
      expect(mayHear(HOST, of(operation.subject, 'h1'))).toBe(answerers.includes('host'));
      for (const other of ['h2', '*', '>']) {
        if (!operation.subject.includes('{hostId}')) continue;
        expect(mayPublish(HOST, of(operation.subject, other))).toBe(false);
        expect(mayHear(HOST, of(operation.subject, other))).toBe(false);
      }
    }
    for (const { subject, senders, listeners } of BROADCASTS) {
      expect(mayPublish(HOST, of(subject, 'h1'))).toBe(senders.includes('host'));
      expect(mayHear(HOST, of(subject, 'h1'))).toBe(listeners.includes('host'));
      if (!subject.includes('{hostId}')) continue;
      expect(mayPublish(HOST, of(subject, 'h2')) || mayHear(HOST, of(subject, 'h2'))).toBe(false);
    }
  });

  it('does not reach JetStream, neither to read nor to write', () => {
    const { publish, subscribe } = permissionsOf(HOST);
    for (const subject of publish) expect(subject).toMatch(/^volley\.v1\.hosts\.h1\./);
    for (const subject of subscribe) expect(subject).toMatch(/^(volley\.v1\.hosts\.h1|_INBOX\.host-h1)\./);
  });
});

/** Whether a service may write into an inbox: that of who asks it something, and that of everybody when hosts ask it. */
function answersIn(answerer: Party, asker: Party): boolean {
  if (kindOf(answerer) === 'host') return false;
  const callers = CONVERSATIONS.filter(({ answerers }) => answerers.includes(kindOf(answerer))).flatMap(
    (one) => one.callers,
  );
  return callers.includes('host') || callers.includes(kindOf(asker));
}

describe('everybody', () => {
  it('has an inbox where nobody else listens, and is found by the name', () => {
    for (const party of EVERYBODY) {
      expect(partyNamed(nameOf(party))).toEqual(party);
      for (const other of EVERYBODY) {
        expect(mayHear(other, `${inboxOf(party)}.x.1`)).toBe(other === party);
        expect(mayPublish(other, `${inboxOf(party)}.x.1`)).toBe(answersIn(other, party));
      }
      for (const all of ['>', '_INBOX.>', '_INBOX.*.>', '*']) expect(mayHear(party, all)).toBe(false);
    }
    for (const name of ['', 'host', 'host-', 'host-a.b', 'host->', 'Controller', 'root'])
      expect(partyNamed(name)).toBeUndefined();
  });

  it.each(STORES.map((store) => [store.stream, store] as const))('writes %s only when it is theirs', (_, store) => {
    const subject = store.subjects[0]!.replace('>', 'x').replace('*', 'x');
    const mayWrite = EVERYBODY.filter((party) => mayPublish(party, subject));
    expect(mayWrite).toEqual(SERVICES.filter((service) => store.writers.includes(service)));
    for (const verb of ['UPDATE', 'PURGE', 'MSG.DELETE']) {
      const may = EVERYBODY.filter((party) => mayPublish(party, `$JS.API.STREAM.${verb}.${store.stream}`));
      expect(may).toEqual(SERVICES.filter((service) => store.managers.includes(service)));
    }
    expect(EVERYBODY.filter((party) => mayPublish(party, `$JS.API.STREAM.DELETE.${store.stream}`))).toEqual([]);
  });

  it('asks operators’ questions only as an operator, and answers only what is its own', () => {
    for (const { operation, callers, answerers } of CONVERSATIONS) {
      const subject = of(operation.subject, 'h1');
      const may = (test: (party: Party, subject: string) => boolean) =>
        [...PARTIES, HOST].filter((party) => test(party, subject)).map((party) => (party === HOST ? 'host' : party));
      expect(may(mayPublish).sort()).toEqual([...callers].sort());
      expect(may(mayHear).sort()).toEqual([...answerers].sort());
    }
  });
});
