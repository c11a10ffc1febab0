import * as protocol from '#protocol';
import { OPERATOR_OPERATIONS, type Operation } from '#protocol';
import type { PartyKind } from './party';

export interface Conversation {
  operation: Operation;
  callers: readonly PartyKind[];
  answerers: readonly PartyKind[];
}

/** Who asks and who answers what the services say to each other. An operation that is missing here can be asked by nobody. */
const INTERNAL: readonly Conversation[] = [
  { operation: protocol.hostCommand, callers: ['controller'], answerers: ['host'] },
  { operation: protocol.hostTune, callers: ['controller'], answerers: ['host'] },
  { operation: protocol.hostLog, callers: ['gateway'], answerers: ['host'] },
  { operation: protocol.measureMicrovm, callers: ['gateway'], answerers: ['host'] },
  { operation: protocol.openSession, callers: ['gateway'], answerers: ['host'] },
  { operation: protocol.registerHost, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.heartbeat, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.reportFact, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.reportStaleCommand, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.syncTemplates, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.wakeMicrovm, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.templatesChanged, callers: ['controller'], answerers: ['host'] },
  { operation: protocol.syncHostClass, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.hostClassChanged, callers: ['controller'], answerers: ['host'] },
  { operation: protocol.reportGuardActs, callers: ['host'], answerers: ['controller'] },
  { operation: protocol.readBlob, callers: ['host'], answerers: ['images'] },
  { operation: protocol.lackingPieces, callers: ['host'], answerers: ['images'] },
  { operation: protocol.putPiece, callers: ['host'], answerers: ['images'] },
  { operation: protocol.publishTemplate, callers: ['host'], answerers: ['images'] },
  { operation: protocol.templateContent, callers: ['host'], answerers: ['images'] },
  { operation: protocol.putWorkingSet, callers: ['host'], answerers: ['images'] },
  { operation: protocol.templateWorkingSet, callers: ['host'], answerers: ['images'] },
  { operation: protocol.readPiece, callers: ['host'], answerers: ['images'] },
  { operation: protocol.createAtOwner, callers: ['controller'], answerers: ['controller'] },
  { operation: protocol.startAtOwner, callers: ['controller'], answerers: ['controller'] },
  { operation: protocol.controllerVitals, callers: ['auditor'], answerers: ['controller'] },
  { operation: protocol.placeMicrovm, callers: ['controller'], answerers: ['placement'] },
  { operation: protocol.announceView, callers: ['auditor'], answerers: ['controller', 'gateway'] },
  { operation: protocol.readView, callers: ['auditor'], answerers: ['controller', 'gateway'] },
];

/** What operators may ask for: by NATS, or by REST from the gateway. Answered by the service whose queue group it has. */
const OPERATORS: readonly Conversation[] = OPERATOR_OPERATIONS.map((operation) => ({
  operation,
  // A controller previews drains.
  callers: [
    'operator',
    'auditor',
    'gateway',
    ...(operation === protocol.dryRunPlacement ? ['controller' as const] : []),
  ],
  answerers: [operation.queue as PartyKind],
}));

export const CONVERSATIONS: readonly Conversation[] = [...OPERATORS, ...INTERNAL];

/** Messages without an answer: who sends and who hears them. `{hostId}` is the host of whom they speak, and for a host its own. */
export interface Broadcast {
  subject: string;
  senders: readonly PartyKind[];
  listeners: readonly PartyKind[];
}

const HOST = '{hostId}';

export const BROADCASTS: readonly Broadcast[] = [
  {
    subject: protocol.densityReport(HOST),
    senders: ['host'],
    listeners: ['placement', 'gateway', 'operator', 'auditor'],
  },
  {
    subject: protocol.microvmSamples(HOST),
    senders: ['host'],
    listeners: ['placement', 'gateway', 'operator', 'auditor'],
  },
  { subject: protocol.placementAnswers('*'), senders: ['placement'], listeners: ['controller'] },
  { subject: protocol.PLACEMENT_WITHDRAWALS, senders: ['controller'], listeners: ['placement'] },
  { subject: protocol.sessionToGuest(HOST, '*'), senders: ['gateway'], listeners: ['host'] },
  { subject: protocol.sessionToClient(HOST, '*'), senders: ['host'], listeners: ['gateway'] },
];
