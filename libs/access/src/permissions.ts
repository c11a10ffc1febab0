import { againSubject } from '#protocol';
import { BROADCASTS, CONVERSATIONS, type Conversation } from './conversations';
import { JETSTREAM_INFO, managingSubjects, readingSubjects } from './jetstream-api';
import { INBOX, inboxOf, kindOf, SERVICES, type Party, type PartyKind, type Service } from './party';
import { STORES } from './stores';

/** What a party may do on NATS; everything else the server refuses. */
export interface Permissions {
  publish: string[];
  subscribe: string[];
  /**
   * Whether it answers by the right to send one message to where a request says, for a while. Services do without: the server keeps such a
   * right for every message that it delivers to them with a reply subject, records of a followed stream included, and above 4,096 of them
   * looks through all at every message. They have `publish` for the inboxes of those who ask them.
   */
  answers: boolean;
}

/**
 * The least that a party needs, by the protocol's own catalogue. A host sends and hears below its own subjects only, and does not
 * reach JetStream at all.
 */
export function permissionsOf(party: Party): Permissions {
  const kind = kindOf(party);
  // A host stands for itself, everybody else deals with any host, and any replica of a service.
  const own = (subject: string): string =>
    subject.replace(/\{(\w+)\}/g, (_, name) => (name === 'hostId' && typeof party !== 'string' ? party.hostId : '*'));
  const subjectsOf = ({ operation: { subject, repeatable } }: Conversation): string[] =>
    repeatable ? [subject, againSubject(subject)] : [subject];
  const asked = CONVERSATIONS.filter(({ callers }) => callers.includes(kind));
  const answered = CONVERSATIONS.filter(({ answerers }) => answerers.includes(kind));
  const sent = BROADCASTS.filter(({ senders }) => senders.includes(kind));
  const heard = BROADCASTS.filter(({ listeners }) => listeners.includes(kind));
  return {
    publish: [
      ...asked.flatMap(subjectsOf).map(own),
      ...sent.map(({ subject }) => own(subject)),
      ...(kind === 'host' ? [] : inboxesOf(answered.flatMap(({ callers }) => callers))),
      ...storedBy(party),
    ],
    subscribe: [
      ...answered.flatMap(subjectsOf).map(own),
      ...heard.map(({ subject }) => own(subject)),
      `${inboxOf(party)}.>`,
    ],
    answers: kind === 'host' && answered.length > 0,
  };
}

/** Where these parties get their answers. Hosts are many, and have their names in one word of the subject. */
function inboxesOf(callers: readonly PartyKind[]): string[] {
  const kinds = [...new Set(callers)];
  if (kinds.includes('host')) return [`${INBOX}.*.>`];
  return kinds.map((kind) => `${inboxOf(kind as Exclude<PartyKind, 'host'>)}.>`);
}

function storedBy(party: Party): string[] {
  const service = SERVICES.find((one) => one === party);
  if (!service && party !== 'auditor') return [];
  const written = STORES.filter(({ writers }) => writers.includes(service as Service));
  const managed = STORES.filter(({ managers }) => managers.includes(service as Service));
  return [
    JETSTREAM_INFO,
    ...STORES.flatMap(({ stream }) => readingSubjects(stream)),
    ...managed.flatMap(({ stream }) => managingSubjects(stream)),
    ...written.flatMap(({ subjects }) => subjects),
  ];
}
