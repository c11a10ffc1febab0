import { Module, type DynamicModule } from '@nestjs/common';
import { NAMED_VIEW, ViewController } from '#fleet';
import { FoldedView } from './audit/folded-view';
import { DrainRunner } from './drain/drain-runner';
import { PlacesElsewhere } from './drain/places-elsewhere';
import { PreviewDrain } from './drain/preview-drain';
import { SecurityAudit } from './audit/security-audit';
import { Deadlines } from './effects/deadlines';
import { EffectRunner } from './effects/effect-runner';
import { HostCommandEffect } from './effects/host-command.effect';
import { PlaceEffect } from './effects/place.effect';
import { PlacementAnswers } from './effects/placement-answers';
import { GroupHistories } from './groups/group-histories';
import { GroupMembers } from './groups/group-members';
import { GroupReconciler } from './groups/group-reconciler';
import { GroupController } from './groups/group.controller';
import { HostClassKeeper } from './host-classes/host-class-keeper';
import { HostHistories } from './histories/host-histories';
import { MicrovmHistories } from './histories/microvm-histories';
import { FactRecorder } from './hosts/fact-recorder';
import { HostFacingController } from './hosts/host-facing.controller';
import { HostLeases } from './hosts/host-leases';
import { HostRegistration } from './hosts/host-registration';
import { CreateMicrovm } from './operator/create-microvm';
import { CreatePressure } from './operator/create-pressure';
import { HostController } from './operator/host.controller';
import { IdempotencyKeys } from './operator/idempotency-keys';
import { ImageCatalogue } from './operator/image-catalogue';
import { MicrovmController } from './operator/microvm.controller';
import { TuneMicrovm } from './operator/tune-microvm';
import { Partitions, REPLICA_ID } from './partitions/partitions';
import { Retention, RETENTION_DAYS } from './retention/retention';
import { TemplateKeeper } from './templates/template-keeper';
import { TemplateRecords } from './templates/template-records';
import { TemplateController } from './templates/template.controller';
import { CoresidencyRules } from './tenants/coresidency-rules';
import { QuotaGate } from './tenants/quota-gate';
import { TenantOwner } from './tenants/tenant-owner';
import { Tenants } from './tenants/tenants';
import { VitalsController } from './vitals/vitals.controller';

export interface ControllerOptions {
  /** Name of this controller among its replicas. */
  id: string;
  /** After how many days histories of deleted microVMs are compacted. Absent: never. */
  retentionDays?: number | undefined;
}

/** Decides: folds histories, runs the machines, writes events, performs effects. */
@Module({
  controllers: [
    MicrovmController,
    GroupController,
    TemplateController,
    HostController,
    HostFacingController,
    ViewController,
    VitalsController,
  ],
  providers: [
    Partitions,
    MicrovmHistories,
    HostHistories,
    GroupHistories,
    GroupMembers,
    GroupReconciler,
    HostLeases,
    HostClassKeeper,
    HostRegistration,
    FactRecorder,
    Deadlines,
    EffectRunner,
    PlaceEffect,
    PlacementAnswers,
    HostCommandEffect,
    DrainRunner,
    PlacesElsewhere,
    PreviewDrain,
    CreateMicrovm,
    CreatePressure,
    TuneMicrovm,
    IdempotencyKeys,
    ImageCatalogue,
    TemplateRecords,
    TemplateKeeper,
    Tenants,
    QuotaGate,
    SecurityAudit,
    TenantOwner,
    CoresidencyRules,
    Retention,
    { provide: NAMED_VIEW, useClass: FoldedView },
  ],
})
export class ControllerModule {
  static of({ id, retentionDays }: ControllerOptions): DynamicModule {
    return {
      module: ControllerModule,
      providers: [
        { provide: REPLICA_ID, useValue: id },
        { provide: RETENTION_DAYS, useValue: retentionDays ?? null },
      ],
    };
  }
}
