import { z } from 'zod';

const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const IPV4 = `${OCTET}(?:\\.${OCTET}){3}`;

/** An IPv4 destination, `10.1.0.0/16` or `192.0.2.7`, with `:port` or `:first-last` behind it where only those ports are meant. */
export const Destination = z
  .string()
  .regex(
    new RegExp(`^${IPV4}(?:/(?:3[0-2]|[12]?[0-9]))?(?::[0-9]{1,5}(?:-[0-9]{1,5})?)?$`),
    'must be an IPv4 address or network, such as 10.1.0.0/16 or 192.0.2.7:443',
  );

/** Connections to `hostPort` of the host are handed on to `guestPort`. */
export const PortForward = z.strictObject({
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  hostPort: z.int().min(1).max(65_535),
  guestPort: z.int().min(1).max(65_535),
});
export type PortForward = z.infer<typeof PortForward>;

/**
 * What a microVM may reach. Always blocked, whatever is asked for: the host itself, other microVMs, and the cloud's metadata
 * address 169.254.169.254 with the whole of 169.254.0.0/16.
 */
export const Network = z.strictObject({
  /** `open`: everything that is not blocked. `listed`: only `allow`. */
  egress: z.enum(['open', 'listed']).default('open'),
  allow: z.array(Destination).max(64).default([]),
  forwards: z.array(PortForward).max(16).default([]),
});
export type Network = z.infer<typeof Network>;
