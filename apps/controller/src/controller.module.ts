import { Module } from '@nestjs/common';
import { Deadlines } from './effects/deadlines';
import { EffectRunner } from './effects/effect-runner';
import { HostCommandEffect } from './effects/host-command.effect';
import { PlaceEffect } from './effects/place.effect';
import { HostHistories } from './histories/host-histories';
import { MicrovmHistories } from './histories/microvm-histories';
import { FactRecorder } from './hosts/fact-recorder';
import { HostFacingController } from './hosts/host-facing.controller';
import { HostLeases } from './hosts/host-leases';
import { HostRegistration } from './hosts/host-registration';
import { CreateMicrovm } from './operator/create-microvm';
import { HostController } from './operator/host.controller';
import { IdempotencyKeys } from './operator/idempotency-keys';
import { ImageCatalogue } from './operator/image-catalogue';
import { MicrovmController } from './operator/microvm.controller';
import { TuneMicrovm } from './operator/tune-microvm';

/** Decides: folds histories, runs the machines, writes events, performs effects. */
@Module({
  controllers: [MicrovmController, HostController, HostFacingController],
  providers: [
    MicrovmHistories,
    HostHistories,
    HostLeases,
    HostRegistration,
    FactRecorder,
    Deadlines,
    EffectRunner,
    PlaceEffect,
    HostCommandEffect,
    CreateMicrovm,
    TuneMicrovm,
    IdempotencyKeys,
    ImageCatalogue,
  ],
})
export class ControllerModule {}
