import type { BusClient } from '#bus';
import { templatesChanged, type TemplateRecord } from '#protocol';

/** Lets the hosts that hold a template know that something of it has changed. One that is away asks when it is back. */
export function tellHosts(bus: BusClient, record: TemplateRecord | undefined): void {
  for (const hostId of record?.hosts ?? []) {
    bus.call(templatesChanged, {}, { values: { hostId } }).catch(() => undefined);
  }
}
