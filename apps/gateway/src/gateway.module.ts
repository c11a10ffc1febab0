import { hostname } from 'node:os';
import { Module, type DynamicModule } from '@nestjs/common';
import type { ServiceContext } from '#bus';
import {
  FleetPast,
  NAMED_VIEW,
  openFleetView,
  openGroupJournal,
  openHostJournal,
  openMicrovmJournal,
  RetentionMark,
  ViewController,
  type FleetView,
  type NamedView,
} from '#fleet';
import { ImageDirectory, UploadStore } from '#images';
import { AliasKey, AuditLog, AuditReader, HostClassDirectory, TenantDirectory, TokenDirectory } from '#tenancy';
import { AuditController } from './audit/audit.controller';
import { AuditTrail } from './audit/audit-trail';
import { ConsoleFiles } from './console/console-files';
import { ConsoleController } from './console/console.controller';
import { DensityController } from './density/density.controller';
import { ChangeLog } from './events/change-log';
import { EventsController } from './events/events.controller';
import { JournalPages } from './events/history-pages';
import { FLEET } from './fleet/fleet';
import { GroupsController } from './groups/groups.controller';
import { HealthController } from './health/health.controller';
import { Readiness } from './health/readiness';
import { HostClassesController } from './host-classes/host-classes.controller';
import { HostsController } from './hosts/hosts.controller';
import { ImagesController, MAX_UPLOAD_BYTES } from './images/images.controller';
import { GatewayMetrics } from './metrics/gateway-metrics';
import { MetricsController } from './metrics/metrics.controller';
import { MicrovmWaiter } from './microvms/microvm-waiter';
import { MicrovmsController } from './microvms/microvms.controller';
import { PastController } from './past/past.controller';
import { OpenApiController } from './openapi/openapi.controller';
import { PlacementController } from './placement/placement.controller';
import { SessionOpener } from './sessions/session-opener';
import { SessionSockets } from './sessions/session-sockets';
import { OperatorToken } from './operator-token';
import { SessionsController } from './sessions/sessions.controller';
import { Principals } from './tenancy/principals';
import { TemplatesController } from './templates/templates.controller';
import { TenantsController } from './tenancy/tenants.controller';
import { TokensController } from './tenancy/tokens.controller';
import { VisibleFleet } from './tenancy/visible-fleet';

export interface GatewayOptions {
  token: OperatorToken;
  consoleDir: string;
  metrics: GatewayMetrics;
  /** Largest upload. Default: 16 GiB. */
  maxUploadBytes?: number;
}

const MAX_UPLOAD = 16 * 2 ** 30;

@Module({})
export class GatewayModule {
  /** Resolves when the fleet is folded: before that there is nothing to serve. */
  static async open({ nats, logger }: ServiceContext, options: GatewayOptions): Promise<DynamicModule> {
    const startedMs = performance.now();
    const skip = (subject: string, sequence: number, error: unknown): void =>
      logger.error({ subject, sequence, err: error }, 'a message on a history is skipped');
    const fleet = await openFleetView(nats, {
      onSkipped: skip,
      onFailure: (error) => {
        throw error; // nothing in memory can be trusted any more: end, and fold anew
      },
    });
    logger.info({ position: fleet.position, ms: Math.round(performance.now() - startedMs) }, 'the fleet is folded');
    const unreadable = (bucket: string) => (key: string, error: unknown) =>
      logger.error({ bucket, key, err: error }, 'an entry is none; it counts as absent');
    const [microvms, hosts, groups, images, uploads, classes, tenants, tokens, aliases, auditLog, auditReader] =
      await Promise.all([
        openMicrovmJournal(nats, ({ subject, sequence, error }) => skip(subject, sequence, error)),
        openHostJournal(nats, ({ subject, sequence, error }) => skip(subject, sequence, error)),
        openGroupJournal(nats, ({ subject, sequence, error }) => skip(subject, sequence, error)),
        ImageDirectory.open(nats, {
          onUnreadable: (key, error) => logger.error({ key, err: error }, 'an entry among the images is none; skipped'),
        }),
        UploadStore.open(nats),
        HostClassDirectory.open(nats, unreadable('host classes')),
        TenantDirectory.open(nats, unreadable('tenants')),
        TokenDirectory.open(nats, unreadable('tokens')),
        AliasKey.open(nats),
        AuditLog.open(nats, {
          service: 'gateway',
          onDropped: (count, reason) => {
            options.metrics.auditDropped.inc(count);
            logger.error({ count, reason }, 'entries of the audit were given up');
          },
        }),
        AuditReader.open(nats),
      ]);
    const [past, retention] = await Promise.all([
      FleetPast.open(nats, ({ subject, sequence, error }) => skip(subject, sequence, error)),
      RetentionMark.open(nats),
    ]);
    return {
      module: GatewayModule,
      controllers: [
        MicrovmsController,
        GroupsController,
        TemplatesController,
        SessionsController,
        ImagesController,
        HostsController,
        HostClassesController,
        PastController,
        ViewController,
        PlacementController,
        DensityController,
        TenantsController,
        TokensController,
        AuditController,
        EventsController,
        HealthController,
        MetricsController,
        OpenApiController,
        ConsoleController,
      ],
      providers: [
        { provide: FLEET, useValue: fleet },
        { provide: ChangeLog, useValue: new ChangeLog(fleet) },
        { provide: JournalPages, useValue: new JournalPages(microvms, hosts, groups) },
        { provide: NAMED_VIEW, useValue: namedView(fleet) },
        { provide: FleetPast, useValue: past },
        { provide: RetentionMark, useValue: retention },
        { provide: ConsoleFiles, useValue: new ConsoleFiles(options.consoleDir) },
        { provide: GatewayMetrics, useValue: options.metrics },
        { provide: ImageDirectory, useValue: images },
        { provide: UploadStore, useValue: uploads },
        { provide: OperatorToken, useValue: options.token },
        { provide: HostClassDirectory, useValue: classes },
        { provide: TenantDirectory, useValue: tenants },
        { provide: TokenDirectory, useValue: tokens },
        { provide: AliasKey, useValue: aliases },
        { provide: AuditLog, useValue: auditLog },
        { provide: AuditReader, useValue: auditReader },
        { provide: MAX_UPLOAD_BYTES, useValue: options.maxUploadBytes ?? MAX_UPLOAD },
        Principals,
        VisibleFleet,
        AuditTrail,
        MicrovmWaiter,
        SessionOpener,
        SessionSockets,
        Readiness,
      ],
    };
  }
}

/** No two gateways of a fleet share a host name and a process id at a time. */
function namedView(view: FleetView): NamedView {
  const instance = `gateway-${hostname()
    .replace(/[^a-zA-Z0-9_-]/g, '-')
    .slice(0, 80)}-${process.pid}`;
  return { instance, service: 'gateway', view };
}
