import { z } from 'zod';
import { DensityHistory, DensityScope, FleetDensity, TenantUsage } from './density';
import { DrainPlan } from './drain';
import { DrainOrder, Host } from './host';
import { HostClassName } from './host-classes';
import { HostId, MicrovmId, TenantId } from './ids';
import { Instant, MicrovmStateName } from './microvm-events';
import { MicrovmSpec } from './microvm-spec';
import { HistoryEntry, Microvm } from './microvm-view';
import { operation } from './operation';
import { Receipt } from './placement';
import { TemplatePlaces } from './templates';
import { Coresidency } from './tenants';
import { Tuning } from './tuning';

/** Name of a retried command: the same id is done once and answered with the same outcome. */
export const CommandId = z.string().regex(/^[\x21-\x7e]{1,128}$/, 'must be 1..128 visible ASCII characters');
/** Who asks, for the history; the gateway fills it from the token. */
export const By = z.string().min(1).max(128);

const Reply = z.strictObject({ microvm: Microvm });
const command = <S extends z.ZodRawShape>(name: string, summary: string, extra: S) =>
  operation({
    subject: `volley.v1.microvm.${name}`,
    queue: 'controller',
    repeatable: true,
    request: z.strictObject({ id: MicrovmId, commandId: CommandId.optional(), by: By.optional(), ...extra }),
    reply: Reply,
    deadlineMs: 5_000,
    summary,
  });

/** Create: durable when answered. With `idempotencyKey`, repeated requests make one microVM; the key with another spec is a `conflict`. */
export const createMicrovm = operation({
  subject: 'volley.v1.microvm.create',
  queue: 'controller',
  repeatable: true,
  sheddable: true,
  request: z.strictObject({
    spec: MicrovmSpec,
    /** Chosen by a caller that may have to send the same create again; else the controller chooses. Never used twice. */
    id: MicrovmId.optional(),
    idempotencyKey: CommandId.optional(),
    by: By.optional(),
    /** When the caller's request arrived, ms since 1970; for the timings. */
    requestedAt: z.number().optional(),
  }),
  reply: z.strictObject({ microvm: Microvm, created: z.boolean() }),
  deadlineMs: 5_000,
  summary: 'Creates a microVM and starts it. Answered as soon as the request is durable.',
});
export const pauseMicrovm = command('pause', 'Parks its vCPUs; memory stays.', {});
export const resumeMicrovm = command('resume', 'Lets a paused or suspended microVM go on.', {});
export const suspendMicrovm = command(
  'suspend',
  'Puts its memory on the disk of its host and gives its place there to others; resume lets it go on.',
  {},
);
export const stopMicrovm = command(
  'stop',
  'Presses the power button and kills it when the guest has not powered off in time.',
  {
    /** Absent: as its spec says. */
    timeoutMs: z.int().min(0).max(600_000).optional(),
  },
);
export const startMicrovm = command('start', 'Starts a stopped or failed microVM again, as a new incarnation.', {});
export const killMicrovm = command('kill', 'Ends its VMM at once.', {});
export const protectMicrovm = command('protect', 'Protects it from being deleted, or lifts that protection.', {
  enabled: z.boolean(),
});
/** Answered when its host has taken the change over. `conflict`: it does not run. `unsupported`: it has no such device. */
export const tuneMicrovm = command(
  'tune',
  'Changes limits, balloon or metadata of a running microVM, or presses Ctrl-Alt-Del.',
  { tuning: Tuning },
);
export const deleteMicrovm = command(
  'delete',
  'Ends it whatever its state and frees everything; its history stays.',
  {},
);

export const getMicrovm = operation({
  subject: 'volley.v1.microvm.get',
  queue: 'controller',
  request: z.strictObject({ id: MicrovmId }),
  reply: Reply,
  deadlineMs: 2_000,
  summary: 'Reads one microVM, deleted ones included.',
});
export const listMicrovms = operation({
  subject: 'volley.v1.microvm.list',
  queue: 'controller',
  request: z.strictObject({
    state: z.array(MicrovmStateName).optional(),
    hostId: HostId.optional(),
    tenant: z.string().optional(),
    image: z.string().optional(),
    name: z.string().optional(),
    /** Every given label must match. */
    labels: z.record(z.string(), z.string()).optional(),
    limit: z.int().min(1).max(1000).default(100),
    cursor: z.string().optional(),
  }),
  reply: z.strictObject({ items: z.array(Microvm), nextCursor: z.string().nullable() }),
  deadlineMs: 5_000,
  summary: 'Lists microVMs in order of age; deleted ones only when asked for by state.',
});
export const microvmHistoryOf = operation({
  subject: 'volley.v1.microvm.history',
  queue: 'controller',
  request: z.strictObject({ id: MicrovmId, at: z.number().optional() }),
  reply: z.strictObject({ id: z.string(), entries: z.array(HistoryEntry), microvm: Microvm.nullable() }),
  deadlineMs: 5_000,
  summary: 'Every step of its life; with `at` (ms since 1970) only up to that instant, and the state it was in then.',
});
export const placementOf = operation({
  subject: 'volley.v1.placement.receipts',
  queue: 'placement',
  /** receiptId: only this one, with as many hosts as fit into a message. */
  request: z.strictObject({ microvmId: MicrovmId, receiptId: z.string().optional() }),
  reply: z.strictObject({ receipts: z.array(Receipt) }),
  deadlineMs: 5_000,
  summary: 'The receipts of its placements, oldest first.',
});
/** What is placed in a dry run, at most: together, and of one spec. */
const DRY_RUN_MOST = 1_000;
export const dryRunPlacement = operation({
  subject: 'volley.v1.placement.dryRun',
  queue: 'placement',
  request: z.strictObject({
    /** Placed one after the other on the same hosts, each finding them as the ones before left them. */
    placements: z
      .array(
        z.strictObject({
          spec: MicrovmSpec,
          count: z.int().min(1).max(DRY_RUN_MOST).default(1),
          /** Of its tenant. Absent: it shares with everybody. */
          coresidency: Coresidency.optional(),
          /** Of a clone: where its template is. */
          template: TemplatePlaces.optional(),
        }),
      )
      .min(1)
      .max(DRY_RUN_MOST)
      .refine(
        (placements) => placements.reduce((sum, { count }) => sum + count, 0) <= DRY_RUN_MOST,
        `at most ${DRY_RUN_MOST} in all`,
      ),
    excluded: z.array(HostId).max(DRY_RUN_MOST).default([]),
    /** Whose verdicts are told: of all hosts, as far as they fit into a message, or only of those that were compared. */
    hosts: z.enum(['all', 'compared']).default('all'),
  }),
  reply: z.strictObject({ receipts: z.array(Receipt) }),
  deadlineMs: 5_000,
  summary: 'Where microVMs of these specs would be placed now, one after the other. Changes nothing.',
});

export const listHosts = operation({
  subject: 'volley.v1.host.list',
  queue: 'controller',
  request: z.strictObject({}),
  reply: z.strictObject({ items: z.array(Host) }),
  deadlineMs: 2_000,
  summary: 'Lists hosts.',
});
const hostCommand = <E extends z.ZodRawShape>(name: string, summary: string, extra: E) =>
  operation({
    subject: `volley.v1.host.${name}`,
    queue: 'controller',
    request: z.strictObject({ hostId: HostId, commandId: CommandId.optional(), by: By.optional(), ...extra }),
    reply: z.strictObject({ host: Host }),
    deadlineMs: 5_000,
    summary,
  });
export const cordonHost = hostCommand('cordon', 'No new microVMs on this host; those there stay.', {});
export const uncordonHost = hostCommand('uncordon', 'Takes new microVMs again.', {});
export const retireHost = hostCommand(
  'retire',
  'Declares that a lost host never returns; what was being deleted there is deleted.',
  {},
);
/** Repeated, it changes how a drain under way goes on. */
export const drainHost = hostCommand(
  'drain',
  'Moves microVMs off this host, stops them or waits for their end, until it is empty; it takes no new ones.',
  DrainOrder.shape,
);
export const cancelDrain = hostCommand(
  'cancelDrain',
  'Ends a drain: what was not touched stays, and the host is ready or cordoned as before.',
  {},
);
/** Null: the class that its agent names. */
export const assignHostClass = hostCommand(
  'assignClass',
  'Puts a host into a class, whatever its agent says; null leaves it to the agent.',
  { hostClass: HostClassName.nullable() },
);
export const planDrain = operation({
  subject: 'volley.v1.host.drainPlan',
  queue: 'controller',
  request: z.strictObject({ hostId: HostId, ...DrainOrder.shape }),
  reply: z.strictObject({ plan: DrainPlan }),
  deadlineMs: 10_000,
  summary: 'What a drain of this host would do with each of its microVMs. Changes nothing.',
});

export const fleetDensity = operation({
  subject: 'volley.v1.density.get',
  queue: 'placement',
  request: z.strictObject({}),
  reply: FleetDensity,
  deadlineMs: 2_000,
  summary: 'The latest density report of every host and the sums of the fleet.',
});

export const tenantDensity = operation({
  subject: 'volley.v1.density.tenant',
  queue: 'placement',
  request: z.strictObject({ tenant: TenantId }),
  reply: TenantUsage,
  deadlineMs: 2_000,
  summary: 'What a tenant was promised and uses on all hosts, measured within the last ten seconds.',
});

/** `invalid`: `from` is not before `to`, or there would be more than 2,000 points. */
export const densityHistory = operation({
  subject: 'volley.v1.density.history',
  queue: 'placement',
  request: z.strictObject({
    scope: DensityScope,
    from: Instant,
    to: Instant,
    /** A whole number of ten seconds; absent: what gives some hundred points. */
    stepMs: z.int().min(10_000).multipleOf(10_000).optional(),
  }),
  reply: DensityHistory,
  deadlineMs: 10_000,
  summary:
    'Density of the fleet, a host or a tenant between two instants: least, mean, most and 99th percentile per step.',
});
