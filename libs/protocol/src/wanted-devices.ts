import { findImage } from './images';
import type { MicrovmSpec } from './microvm-spec';
import type { Network } from './network';

/** The devices of a microVM beside its disks, defaults filled in. */
export interface WantedDevices {
  network: Network | undefined;
  vsock: boolean;
  balloon: boolean;
  rng: boolean;
}

/** A Linux image has everything unless told otherwise; the canary has only what is asked for. */
export function wantedDevices(spec: MicrovmSpec): WantedDevices {
  const linux = findImage(spec.image) === undefined;
  const { network = linux ? ({ egress: 'open', allow: [], forwards: [] } satisfies Network) : 'none' } = spec;
  return {
    network: network === 'none' ? undefined : network,
    vsock: spec.vsock ?? linux,
    balloon: spec.balloon ?? linux,
    rng: spec.rng ?? linux,
  };
}
