import { DiscardPolicy } from '@nats-io/jetstream';
import { nanos, type NatsConnection } from 'nats';
import { Journal } from '#journal';
import { DENSITY_MINUTES_STREAM, DENSITY_RECENT_STREAM, DensityPoint, type DensityResolution } from '#protocol';

export type DensityJournals = Record<DensityResolution, Journal<DensityPoint>>;

/** What is kept of density. The oldest points go when they are old, or too many. @throws StreamConfigError, JournalUnavailableError */
export async function openDensityJournals(nc: NatsConnection): Promise<DensityJournals> {
  const open = ({ name, subjects, maxAgeMs, maxBytes }: typeof DENSITY_RECENT_STREAM | typeof DENSITY_MINUTES_STREAM) =>
    Journal.open(nc, {
      ...{ stream: name, subjects: [...subjects], immutable: false, maxBytes },
      decode: (json) => DensityPoint.parse(json),
      onUnreadable: () => undefined, // of a later version: a point that is missing
      extra: { discard: DiscardPolicy.Old, max_age: nanos(maxAgeMs) },
    });
  return { recent: await open(DENSITY_RECENT_STREAM), minutes: await open(DENSITY_MINUTES_STREAM) };
}
