/** A network as a plain number and a length: `100.64.0.0/16` is { base: 0x64400000, prefix: 16 }. */
export interface Ipv4Network {
  base: number;
  prefix: number;
}

export function parseAddress(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** Undefined when it is not a network, or has bits set behind its prefix. */
export function parseNetwork(text: string): Ipv4Network | undefined {
  const [address, length = '32', ...rest] = text.split('/');
  const base = parseAddress(address!);
  const prefix = Number(length);
  if (base === undefined || rest.length > 0 || !/^\d{1,2}$/.test(length) || prefix > 32) return undefined;
  return base % sizeOf({ base, prefix }) === 0 ? { base, prefix } : undefined;
}

export const sizeOf = ({ prefix }: Ipv4Network): number => 2 ** (32 - prefix);

export const formatNetwork = ({ base, prefix }: Ipv4Network): string => `${formatAddress(base)}/${prefix}`;

export function contains(network: Ipv4Network, address: number): boolean {
  return address >= network.base && address < network.base + sizeOf(network);
}

export function overlap(a: Ipv4Network, b: Ipv4Network): boolean {
  return contains(a, b.base) || contains(b, a.base);
}
