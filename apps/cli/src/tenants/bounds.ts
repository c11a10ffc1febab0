import { InvalidArgumentError } from 'commander';
import type { Coresidency, Quotas, Tenant } from '#protocol';
import { memoryOption, wholeNumber } from '../commands/option-types';

/** What may be set of a tenant. */
export interface Bounds {
  quotas: Quotas;
  coresidency: Coresidency;
  requestsPerSecond?: number;
}

/** As commander gives them: absent is not said, null is `none`. */
export interface BoundOptions {
  maxMicrovms?: number | null;
  maxVcpus?: number | null;
  maxMemory?: number | null;
  createsPerSecond?: number | null;
  requestsPerSecond?: number | null;
  dedicated?: boolean;
  shared?: boolean;
  neverWith?: string[];
}

/** For an option that also takes `none`, which lifts the bound; gives null then. */
export function orNone<T>(parse: (text: string) => T) {
  return (text: string): T | null => (text === 'none' ? null : parse(text));
}

export const countOrNone = orNone(wholeNumber(0));
export const memoryOrNone = orNone(memoryOption);
export const rateOrNone = orNone((text: string): number => {
  const rate = Number(text);
  if (!(rate > 0 && rate <= 100_000)) throw new InvalidArgumentError('It must be a number above 0, or none.');
  return rate;
});

/** The bounds as they are, with what was said changed. */
export function changed(now: Tenant | undefined, said: BoundOptions): Bounds {
  const requestsPerSecond = said.requestsPerSecond === undefined ? now?.requestsPerSecond : said.requestsPerSecond;
  const { mode = 'shared', neverWith = [] } = now?.coresidency ?? {};
  return {
    quotas: present({
      ...now?.quotas,
      ...bound(said.maxMicrovms, 'microvms'),
      ...bound(said.maxVcpus, 'vcpus'),
      ...bound(said.maxMemory, 'memoryMiB'),
      ...bound(said.createsPerSecond, 'createsPerSecond'),
    }),
    coresidency: {
      mode: said.dedicated ? 'dedicated' : said.shared ? 'shared' : mode,
      neverWith: said.neverWith ?? neverWith,
    },
    ...(requestsPerSecond == null ? {} : { requestsPerSecond }),
  };
}

function bound(value: number | null | undefined, name: keyof Quotas): Record<string, number | null> {
  return value === undefined ? {} : { [name]: value };
}

function present(quotas: Record<string, number | null | undefined>): Quotas {
  return Object.fromEntries(Object.entries(quotas).filter(([, value]) => value != null));
}
