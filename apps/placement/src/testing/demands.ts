import { MicrovmSpec, SHARED, type Coresidency, type MicrovmSpecInput } from '#protocol';
import { demandOf } from '#scheduling';
import type { Asked } from '../decisions/placement-request';

/** For tests: what a microVM of this spec asks for. */
export function askedFor(
  microvmId: string,
  spec: Partial<MicrovmSpecInput> = {},
  coresidency: Coresidency = SHARED,
): Asked {
  const whole = MicrovmSpec.parse({ image: 'canary', memoryMiB: 32, ...spec });
  return {
    ...{ microvmId, epoch: 1, image: whole.image },
    ...(whole.placement ? { rules: whole.placement } : {}),
    demand: demandOf(whole, coresidency, []),
  };
}
