/**
 * What the agent reads of a VMM without the binding: of folders whose process is gone or was never written down. Offsets are those
 * of native/abi/volley_abi.h, version 2; a test compares them with what the compiler says.
 */
export const VMM_ARGV0 = 'volley-vmm';

export const STATS_OFFSET = 8192;
export const STATS_ABI_VERSION = 2;

/** Offsets from the start of the page file. */
export const statsAbiVersionOffset = STATS_OFFSET + 8;
export const claimedPidOffset = STATS_OFFSET + 12;
export const serialBytesOffset = STATS_OFFSET + 152;

export const SERIAL_OFFSET = 12_288;
export const SERIAL_RING = 65_536;
