import type { BusClient } from '#bus';
import { templatesChanged, type TemplateRecord } from '#protocol';

/** Lets the hosts that hold a template know that something of it has changed. */
export function tellHosts(bus: BusClient, record: TemplateRecord | undefined): void {
  for (const hostId of record?.hosts ?? []) tellHost(bus, hostId);
}

/** Lets a host know that it is to hold other templates or pools. One that is away asks when it is back. */
export function tellHost(bus: BusClient, hostId: string): void {
  bus.call(templatesChanged, {}, { values: { hostId } }).catch(() => undefined);
}
