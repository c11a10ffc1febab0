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

/** Whether it runs Linux with our init, which can be talked to; built-in images are programs of their own. */
export const bootsLinux = ({ image }: Pick<MicrovmSpec, 'image'>): boolean => findImage(image) === undefined;

/** A Linux image has everything unless told otherwise; the canary has only what is asked for. */
export function wantedDevices(spec: MicrovmSpec): WantedDevices {
  const linux = bootsLinux(spec);
  const { network = linux ? ({ egress: 'open', allow: [], forwards: [] } satisfies Network) : 'none' } = spec;
  return {
    network: network === 'none' ? undefined : network,
    vsock: spec.vsock ?? linux,
    balloon: spec.balloon ?? linux,
    rng: spec.rng ?? linux,
  };
}
