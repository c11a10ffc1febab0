import { SHARED, type placeMicrovm } from '#protocol';
import { demandOf, type Demand } from '#scheduling';
import type { z } from 'zod';
import type { DecideStep } from '../receipts/placement-steps';

export type PlaceRequest = z.output<(typeof placeMicrovm)['request']>;

/** What is to be placed, as its receipt will have it. */
export type Asked = Pick<DecideStep, 'microvmId' | 'epoch' | 'image' | 'rules'> & { demand: Demand };

export function askedIn({ microvmId, epoch, spec, coresidency = SHARED, excluded, template }: PlaceRequest): Asked {
  return {
    ...{ microvmId, epoch, image: spec.image },
    ...(spec.placement ? { rules: spec.placement } : {}),
    demand: demandOf(spec, coresidency, excluded, template),
  };
}
