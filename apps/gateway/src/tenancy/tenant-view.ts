import {
  OperationError,
  type Exit,
  type HistoryEntry,
  type Microvm,
  type MicrovmEventType,
  type MicrovmRecord,
  type Receipt,
} from '#protocol';

/** What a tenant's view needs to know of the fleet. */
export interface Surroundings {
  isHost(word: string): boolean;
  /** What this tenant calls a host. */
  aliasOf(hostId: string): string;
  /** Whether a token of this tenant has this name. */
  isOwnName(name: string): boolean;
}

/** Fields of a microVM that are its owner's to know as they are. */
export const OWN_FIELDS: readonly string[] = [
  'id',
  'name',
  'image',
  'template',
  'tenant',
  'class',
  'state',
  'epoch',
  'network',
  'tuned',
  'timings',
  'vcpus',
  'memoryMiB',
  'cmdline',
  'labels',
  'restartPolicy',
  'onHostLoss',
  'ttlSeconds',
  'deleteProtection',
  'maxRestarts',
  'stopTimeoutSeconds',
  'idleStop',
  'schedule',
  'restarts',
  'createdAt',
  'updatedAt',
  'revision',
];
/** Those that are told in other words. */
export const REDUCED_FIELDS: readonly string[] = ['reason', 'hostId', 'pid', 'exit'];

/** Exits that are the guest's or its owner's doing; what is said of the others speaks of the host. */
const OWN_EXITS: readonly string[] = [
  'powerOff',
  'reboot',
  'panic',
  'tripleFault',
  'outOfMemory',
  'guestOutOfMemory',
  'programFailed',
  'requested',
  'idle',
  'expired',
];
/** Reasons that the machine writes, and that speak of the microVM alone. */
const OWN_REASONS: readonly string[] = [
  'its time to live is over',
  'stopped before it was placed',
  'not stopped in time, killing it',
  'stopped by its schedule',
  'stopped by its schedule before it was placed',
];
const HOST_FAILED = 'its host could not go on with it';

/** Fields of an event that concern the microVM's owner; an event that is not here is told by its type alone. */
export const EVENT_FIELDS: Partial<Record<MicrovmEventType, readonly string[]>> = {
  requested: ['spec', 'requestedAt', 'specHash'],
  placed: ['hostId', 'epoch', 'receiptId', 'decidedAt'],
  placementStarted: [],
  placementWaits: ['receiptId'],
  placementFailed: ['receiptId', 'final'],
  pauseRequested: [],
  resumeRequested: [],
  killRequested: [],
  deleteRequested: [],
  stopRequested: ['timeoutMs'],
  startRequested: ['requestedAt'],
  snapshotRequested: ['templateId', 'afterwards'],
  suspendRequested: [],
  restoreRequested: ['hostId', 'epoch', 'requestedAt'],
  protectionSet: ['enabled'],
  moveRequested: ['to', 'receiptId', 'graceMs'],
  deadlinePassed: ['timer'],
  hostLost: ['hostId'],
  hostGone: ['hostId'],
  refused: ['hostId', 'epoch'],
  started: ['hostId', 'epoch', 'timings', 'network'],
  pausedOnHost: ['hostId', 'epoch'],
  resumedOnHost: ['hostId', 'epoch'],
  snapshotTaken: ['hostId', 'epoch', 'templateId', 'digest', 'bytes', 'pauseMs', 'copy', 'unusedDisks', 'as'],
  suspended: ['hostId', 'epoch', 'bytes', 'pauseMs', 'copy'],
  commandFailed: ['hostId', 'epoch', 'command'],
  observed: ['hostId', 'epoch', 'as'],
  exited: ['hostId', 'epoch', 'exit'],
  absent: ['hostId', 'epoch'],
  erased: ['hostId', 'epoch'],
  tuned: ['hostId', 'epoch', 'tuning'],
};
/** What stands for the words of placement or of a host. */
const EVENT_REASONS: Partial<Record<MicrovmEventType, string>> = {
  placementWaits: 'no host can take it now',
  placementFailed: 'no host could take it',
  hostGone: 'its host is gone',
  refused: 'the host did not take it',
  commandFailed: 'its host could not do it',
  observed: 'found on its host',
  absent: 'its host does not have it any more',
};
const UNAVAILABLE: Partial<Record<OperationError['code'], string>> = {
  unavailable: 'A part of the fleet does not answer; nothing was done. Try again.',
  timeout: 'There was no answer in time, so the outcome is not known: send it again with the same Idempotency-Key.',
  refused: 'The host of the microVM refuses this for now; try again later.',
  internal: 'The fleet failed to do this; its operator can find out why.',
};

type Event = { type: string; [field: string]: unknown };

/**
 * The fleet as a tenant sees it: everything of its own microVMs, and of the hosts no more than that there are some. What is not known to
 * concern the tenant is left out, so that what is added elsewhere is not told by accident.
 */
export class TenantView {
  constructor(
    readonly tenant: string,
    private readonly around: Surroundings,
  ) {}

  microvm(microvm: Microvm): Microvm {
    const { hostId, exit } = microvm;
    const reduced = {
      reason: reasonOf(microvm),
      hostId: hostId === null ? null : this.around.aliasOf(hostId),
      pid: null,
      ...(exit === undefined ? {} : { exit: ownExit(exit) }),
    };
    // In the order in which everybody else sees them.
    const fields = Object.entries(microvm).flatMap(([field, value]) =>
      field in reduced
        ? [[field, reduced[field as keyof typeof reduced]]]
        : OWN_FIELDS.includes(field)
          ? [[field, value]]
          : [],
    );
    return Object.fromEntries(fields) as Microvm;
  }

  record(record: MicrovmRecord, sequence: number): MicrovmRecord {
    const { machine, microvmId, at, from, to } = record;
    const events = record.events.map((event) => this.#event(event)) as unknown as MicrovmRecord['events'];
    return { machine, microvmId, ...this.#who(record, sequence), at, from, to, events };
  }

  entry({ sequence, at, commandId, cause, from, to, latencyMs, events }: HistoryEntry): HistoryEntry {
    const who = this.#who({ commandId, cause: cause as MicrovmRecord['cause'] }, sequence);
    return { sequence, at, ...who, from, to, latencyMs, events: events.map((event) => this.#event(event)) };
  }

  /** Of all hosts only the chosen one, by its alias. */
  receipt({ id, microvmId, epoch, at, demand, hostId, reason }: Receipt): Receipt {
    const { aliasOf } = this.around;
    const chosen = hostId === null ? null : aliasOf(hostId);
    return {
      id,
      microvmId,
      epoch,
      at,
      demand: { ...demand, excluded: demand.excluded.map((excluded) => aliasOf(excluded)) },
      hostId: chosen,
      reason: reason === '' ? '' : chosen === null ? 'no host could take it' : 'placed',
      hosts: chosen === null ? [] : [{ hostId: chosen, verdict: 'chosen', filters: [], scores: [], total: null }],
      omitted: 0,
    };
  }

  /** The same error in words that say nothing of hosts or of the insides of the fleet. */
  error<E>(error: E): E | OperationError {
    if (!(error instanceof OperationError)) return error;
    const { code, message, details, retryAfterMs } = error;
    const isQuota = details?.every(({ path }) => path.startsWith('quotas.')) ?? false;
    const instead = isQuota ? undefined : UNAVAILABLE[code];
    return new OperationError(
      code,
      instead ?? this.#withoutHosts(message),
      instead ? undefined : details,
      retryAfterMs,
    );
  }

  /** Who did it: own tokens by name, everybody else by what they are. */
  #who({ commandId, cause }: Pick<MicrovmRecord, 'commandId' | 'cause'>, sequence: number) {
    const { kind, by } = cause;
    if (kind === 'operator' && this.around.isOwnName(by)) return { commandId, cause };
    const told = kind === 'host' ? this.around.aliasOf(by) : kind === 'timer' ? by : kind;
    return { commandId: `${kind}.${sequence}`, cause: { kind, by: told } };
  }

  #event(event: Event): Event {
    const type = event.type as MicrovmEventType;
    const told: Event = { type };
    for (const field of EVENT_FIELDS[type] ?? []) {
      const value = event[field];
      if (value === undefined) continue;
      if (field === 'hostId' || field === 'to') told[field] = this.around.aliasOf(value as string);
      else told[field] = field === 'exit' ? ownExit(value as Exit) : value;
    }
    const reason = EVENT_REASONS[type];
    if (reason !== undefined) told['reason'] = reason;
    return told;
  }

  /** Should a host be named where none is expected, its alias stands there. */
  #withoutHosts(text: string): string {
    return text.replace(/[A-Za-z0-9_-]+/g, (word) => (this.around.isHost(word) ? this.around.aliasOf(word) : word));
  }
}

function ownExit(exit: Exit): Exit {
  if (OWN_EXITS.includes(exit.reason)) return exit;
  const { reason, at } = exit;
  return { reason, message: HOST_FAILED, at };
}

function reasonOf({ state, reason, exit }: Microvm): string | null {
  if (reason === null || OWN_REASONS.includes(reason)) return reason;
  if (exit?.message === reason) return ownExit(exit).message;
  switch (state) {
    case 'requested':
    case 'placing':
    case 'starting':
      return 'it waits for a host that can take it';
    case 'unreachable':
      return 'its host does not answer';
    case 'failed':
      return exit ? ownExit(exit).message : 'no host could take it';
    default:
      return 'its host has not done what was asked yet';
  }
}
