/** An image every host has: built with Volley and found by name. */
export interface BuiltinImage {
  name: string;
  summary: string;
  bootProtocol: 'flat' | 'linux';
  irqchip: 'split' | 'full';
  maxVcpus: number;
  minMemoryMiB: number;
}

/** Images by name. Imported images are not part of this build yet. */
export const BUILTIN_IMAGES: readonly BuiltinImage[] = [
  {
    name: 'canary',
    summary: "Volley's own tiny guest: proves in milliseconds that a host runs microVMs, and makes load on request.",
    bootProtocol: 'flat',
    irqchip: 'split',
    maxVcpus: 1,
    minMemoryMiB: 4,
  },
];

export function findImage(name: string): BuiltinImage | undefined {
  return BUILTIN_IMAGES.find((image) => image.name === name);
}
