import { z } from 'zod';
import { MicrovmDensity } from './density';
import { HostDescription, HostStateName } from './host';
import { HostId, MicrovmId } from './ids';
import { Digest } from './images';
import { Instant, MicrovmEvent } from './microvm-events';
import { MicrovmSpec } from './microvm-spec';
import { operation } from './operation';
import { Decision } from './placement';
import { PoolPolicy, TemplateId, TemplatePlaces } from './templates';
import { Coresidency } from './tenants';
import { Tuning } from './tuning';

const Incarnation = { microvmId: MicrovmId, epoch: z.int().positive() };

/**
 * controller -> host. `commandId` names the effect; the host does it once per incarnation and answers repeats with what it
 * answered first. A lower epoch than one the host has seen for this microVM is refused.
 */
export const hostCommand = operation({
  subject: 'volley.v1.hosts.{hostId}.command',
  request: z.discriminatedUnion('type', [
    /** expiresAt: the host ends it then by itself. coresidency: of its tenant; absent: it shares with everybody. */
    z.strictObject({
      type: z.literal('start'),
      commandId: z.string(),
      ...Incarnation,
      spec: MicrovmSpec,
      expiresAt: Instant.optional(),
      coresidency: Coresidency.optional(),
      /** It goes on from where an earlier incarnation of it was suspended here. */
      restore: z.literal(true).optional(),
    }),
    /** Take a snapshot of it as a template, and let it go on as it was. */
    z.strictObject({ type: z.literal('snapshot'), commandId: z.string(), ...Incarnation, templateId: TemplateId }),
    /** Put its memory on the disk and give its place back. */
    z.strictObject({ type: z.literal('suspend'), commandId: z.string(), ...Incarnation }),
    z.strictObject({ type: z.literal('pause'), commandId: z.string(), ...Incarnation }),
    z.strictObject({ type: z.literal('resume'), commandId: z.string(), ...Incarnation }),
    /** timeoutMs 0: kill at once. */
    z.strictObject({ type: z.literal('stop'), commandId: z.string(), ...Incarnation, timeoutMs: z.int() }),
    /** End it if it runs, remove everything of it, and never start this or a lower epoch again. */
    z.strictObject({ type: z.literal('erase'), commandId: z.string(), ...Incarnation }),
    /** In place of the expiresAt of its start; null: never. */
    z.strictObject({ type: z.literal('expire'), commandId: z.string(), ...Incarnation, expiresAt: Instant.nullable() }),
    /** Tell by a fact what this incarnation does now: observed, exited or absent. */
    z.strictObject({ type: z.literal('verify'), commandId: z.string(), ...Incarnation }),
  ]),
  /** accepted: journalled and under way; the outcome follows as a fact. */
  reply: z.strictObject({ accepted: z.boolean(), reason: z.string().optional() }),
  deadlineMs: 2_000,
  summary: 'Orders of the controller to one host.',
});

/** Reads the serial console of a microVM from its host. */
export const hostLog = operation({
  subject: 'volley.v1.hosts.{hostId}.log',
  request: z.strictObject({
    microvmId: MicrovmId,
    maxBytes: z.int().min(1).max(65_536).default(65_536),
    since: z.int().optional(),
  }),
  reply: z.strictObject({ text: z.string(), from: z.int(), to: z.int() }),
  deadlineMs: 2_000,
  summary: 'The end of its serial console.',
});

/** `notFound`: it does not run there, or was not measured yet. */
export const measureMicrovm = operation({
  subject: 'volley.v1.hosts.{hostId}.measure',
  request: z.strictObject({ microvmId: MicrovmId }),
  reply: MicrovmDensity,
  deadlineMs: 2_000,
  summary: 'What one microVM takes, as its host has measured it last.',
});

/** Changes a running microVM on its host. `notFound`: it does not run there. `unsupported`: it has no such device. */
export const hostTune = operation({
  subject: 'volley.v1.hosts.{hostId}.tune',
  request: z.strictObject({ microvmId: MicrovmId, tuning: Tuning }),
  /** applied: its VMM, or the host, has taken the change over. */
  reply: z.strictObject({ applied: z.literal(true) }),
  deadlineMs: 4_000,
  summary: 'Changes limits, balloon or metadata of a running microVM, or presses Ctrl-Alt-Del.',
});

const FACTS: readonly string[] = [
  'started',
  'pausedOnHost',
  'resumedOnHost',
  'snapshotTaken',
  'suspended',
  'commandFailed',
  'observed',
  'exited',
  'absent',
  'erased',
  'tuned',
] satisfies HostFact['type'][];

/** Facts a host may report: the host half of the events of a history. */
export const HostFact = z.union(
  MicrovmEvent.options.filter((option) => FACTS.includes(option.shape.type.value)) as [
    (typeof MicrovmEvent.options)[number],
    ...(typeof MicrovmEvent.options)[number][],
  ],
);
export type HostFact = Extract<
  MicrovmEvent,
  {
    type:
      | 'started'
      | 'pausedOnHost'
      | 'resumedOnHost'
      | 'snapshotTaken'
      | 'suspended'
      | 'commandFailed'
      | 'observed'
      | 'exited'
      | 'absent'
      | 'erased'
      | 'tuned';
  }
>;

/** host -> every controller; the owner of the host records it and answers. Repeated by the host until answered. `forbidden`: it speaks of another host than the subject. */
export const reportFact = operation({
  subject: 'volley.v1.hosts.{hostId}.fact',
  everyReplica: true,
  request: z.strictObject({ factId: z.string(), microvmId: MicrovmId, at: Instant, fact: HostFact }),
  /** recorded: part of the history now (or already). Otherwise it was stale and the host may forget it. */
  reply: z.strictObject({ recorded: z.boolean() }),
  deadlineMs: 3_000,
  summary: 'A fact about one incarnation on a host.',
});

/**
 * host -> every controller, when its agent starts and after every loss of connection: each compares what it owns, the owner of the
 * host answers.
 */
export const registerHost = operation({
  subject: 'volley.v1.hosts.{hostId}.register',
  everyReplica: true,
  request: z.strictObject({
    description: HostDescription,
    /** Every incarnation the host holds, with what it does. `ended`: process gone, remains kept for the log; `suspended`: on its disk, to go on. */
    inventory: z.array(
      z.strictObject({
        ...Incarnation,
        as: z.enum(['starting', 'running', 'paused', 'suspended', 'ended']),
        pid: z.int().optional(),
      }),
    ),
  }),
  reply: z.strictObject({ state: HostStateName, leaseMs: z.int().positive(), heartbeatMs: z.int().positive() }),
  deadlineMs: 5_000,
  summary: 'Registers a host and compares what it holds with the histories.',
});

/** host -> every controller; the owner of the host answers. Renews the lease. `unknown` true: register again. */
export const heartbeat = operation({
  subject: 'volley.v1.hosts.{hostId}.heartbeat',
  everyReplica: true,
  request: z.strictObject({ hostId: HostId, at: Instant }),
  reply: z.strictObject({ unknown: z.boolean(), state: HostStateName.optional(), leaseMs: z.int().positive() }),
  deadlineMs: 1_000,
  summary: 'Renews the lease of a host.',
});

/**
 * host -> image service: the content of a blob, part by part. Hosts do not read the object store themselves: whoever may ask
 * JetStream for a message may have it sent to any subject, a history's too. `notFound`: there is no such blob, or no more of it.
 */
export const readBlob = operation({
  subject: 'volley.v1.hosts.{hostId}.blob',
  queue: 'images',
  request: z.strictObject({
    digest: Digest,
    /** Where the last part ended; 0: begin. */
    after: z.int().min(0).default(0),
  }),
  /** `next` is the `after` of the next part; null: this was the last one. */
  reply: z.strictObject({ content: z.base64(), next: z.int().positive().nullable() }),
  deadlineMs: 15_000,
  summary: 'A part of the content of an image.',
});

/**
 * host -> controllers, for the audit: somebody has ordered what is over on this host, and was refused. It may be a controller that was
 * frozen, a message that was played again, or a stolen key. Not repeated.
 */
export const reportStaleCommand = operation({
  subject: 'volley.v1.hosts.{hostId}.stale',
  queue: 'controller',
  request: z.strictObject({
    ...Incarnation,
    commandId: z.string(),
    type: z.string().max(64),
    /** The highest that this host has seen. */
    seenEpoch: z.int().positive(),
  }),
  reply: z.strictObject({}),
  deadlineMs: 5_000,
  summary: 'An order of an epoch that is over on its host, which has refused it.',
});

/** host -> controllers: somebody wants something of a suspended microVM. `conflict`: it is not suspended there, or does not want to be woken so. */
export const wakeMicrovm = operation({
  subject: 'volley.v1.hosts.{hostId}.wake',
  queue: 'controller',
  request: z.strictObject({
    ...Incarnation,
    /** Of the host; of `vsock` that of the guest. */
    port: z.int().min(0).max(0xffff_fffe),
    protocol: z.enum(['tcp', 'udp', 'vsock']),
  }),
  reply: z.strictObject({}),
  deadlineMs: 5_000,
  summary:
    'Lets a suspended microVM go on because somebody on the network, or a program of its host, wants something of it.',
});

/**
 * host -> controllers, now and then and after every change: what it holds. The reply says what to do about it, so that neither a
 * deletion nor a pool that a host has not heard of lasts.
 */
export const syncTemplates = operation({
  subject: 'volley.v1.hosts.{hostId}.templates',
  queue: 'controller',
  request: z.strictObject({
    hostId: HostId,
    /** Complete, or being taken or fetched at the moment. */
    held: z.array(TemplateId).max(4_096),
    /** Published by this host since it told last; with a problem: it could not. */
    published: z.array(z.strictObject({ templateId: TemplateId, problem: z.string().nullable() })).default([]),
    /** The object store was to have these, and had not when this host fetched them. */
    missing: z.array(TemplateId).max(4_096).optional(),
  }),
  reply: z.strictObject({
    /** Nobody wants these any more. */
    drop: z.array(TemplateId),
    /** The object store does not have these yet: this host is to publish them. */
    publish: z.array(TemplateId).default([]),
    /** Of what it holds: those that the object store has, so that they could be fetched again. */
    stored: z.array(TemplateId).default([]),
    pools: z.array(z.strictObject({ templateId: TemplateId, reference: z.string(), policy: PoolPolicy })),
  }),
  deadlineMs: 5_000,
  summary: 'Compares the templates of a host with those on record.',
});

/** controller -> host: something about templates has changed; it is to ask with {@link syncTemplates} soon. */
export const templatesChanged = operation({
  subject: 'volley.v1.hosts.{hostId}.templatesChanged',
  request: z.strictObject({}),
  reply: z.strictObject({}),
  deadlineMs: 2_000,
  summary: 'Has a host compare its templates now.',
});

/** controller -> placement. */
export const placeMicrovm = operation({
  subject: 'volley.v1.placement.place',
  queue: 'placement',
  request: z.strictObject({
    ...Incarnation,
    /** Names the decision: asked again, the same receipt is given. */
    decisionId: z.string(),
    spec: MicrovmSpec,
    excluded: z.array(HostId),
    /** Of a clone: where its template is. */
    template: TemplatePlaces.optional(),
    /** Of its tenant. Absent: it shares with everybody. */
    coresidency: Coresidency.optional(),
    /** While no host can take it, it waits its turn until then, if it is asked for again now and then. Absent: it does not wait. */
    waitUntil: Instant.optional(),
    /** For how long the place is kept unless its host has answered for it before, ms. Absent: as long as a start takes. */
    keepMs: z.int().positive().max(900_000).optional(),
    /** Subject on which the decision is told when it had to wait (see {@link PlacementAnswer}). */
    answerTo: z.string().optional(),
  }),
  /** waiting: this decision is that no host can take it yet. */
  reply: z.strictObject({ receipt: Decision, waiting: z.boolean() }),
  deadlineMs: 2_000,
  summary: 'Chooses a host and stores the receipt.',
});

/** placement -> the controller that asked: the decision on something that had to wait. May be lost; asking again gives the same. */
export const PlacementAnswer = z.strictObject({ decisionId: z.string(), receipt: Decision });
export type PlacementAnswer = z.infer<typeof PlacementAnswer>;

/**
 * controller -> placement: nobody wants the outcome of this decision any more. It leaves its line, and what was decided for it no longer counts
 * against its host. May be lost: then its turn and its place are given up when nobody asks for them.
 */
export const PlacementWithdrawal = z.strictObject({ decisionId: z.string(), microvmId: MicrovmId });
export type PlacementWithdrawal = z.infer<typeof PlacementWithdrawal>;
