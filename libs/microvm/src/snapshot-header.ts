import { crc32c } from './crc32c';
import { SnapshotError } from './errors';
import type { BootProtocol, Irqchip } from './microvm-driver';
import type { SnapshotDescription, SnapshotDevice } from './snapshot';

// Layout of native/abi/volley_snapshot.h.
export const HEADER_BYTES = 8192;
export const PAGE_BYTES = 4096;
export const TRAILER_BYTES = 32;
const MAGIC = 0x31504e53594c4c56n;
const TRAILER_MAGIC = 0x314d454d594c4c56n;
/** Version of the format that is written and read here. */
export const SNAPSHOT_FORMAT = 1;
const MAX_SECTIONS = 96;
const MAX_DEVICES = 17;
const MAX_EXTENTS = 128;
const MAX_VCPUS = 32;
const CHECKSUM_AT = 12;
const SECTIONS_AT = 136;
const DEVICES_AT = SECTIONS_AT + MAX_SECTIONS * 24;
const EXTENTS_AT = DEVICES_AT + MAX_DEVICES * 32;
const READ_ONLY = 1;
const DEFLATE_ON_OOM = 1;
const REPORTING = 2;
const STATISTICS = 4;

/** A run of `memory` that may hold data, bytes. */
export interface SnapshotExtent {
  offset: number;
  length: number;
}

export interface SnapshotHeader {
  description: SnapshotDescription;
  id: Buffer;
  memoryChecksum: bigint;
  extents: SnapshotExtent[];
}

/** Reads the first 8 KiB of `state`. Throws {@link SnapshotError}; nothing in it is believed before it was checked. */
export function parseSnapshotHeader(bytes: Buffer): SnapshotHeader {
  if (bytes.length < HEADER_BYTES) throw new SnapshotError('truncated', 'its state is shorter than a header');
  if (bytes.readBigUInt64LE(0) !== MAGIC) throw new SnapshotError('foreign', 'its state is no snapshot of Volley’s');
  const version = bytes.readUInt32LE(8);
  if (version !== SNAPSHOT_FORMAT) {
    throw new SnapshotError(
      'unsupportedVersion',
      `it is of format ${version}, this agent reads format ${SNAPSHOT_FORMAT}`,
    );
  }
  const summed = Buffer.from(bytes.subarray(0, HEADER_BYTES));
  summed.writeUInt32LE(0, CHECKSUM_AT);
  if (crc32c(summed) !== bytes.readUInt32LE(CHECKSUM_AT)) throw corrupt('its header does not have its checksum');
  const whole = (at: number) => toNumber(bytes.readBigUInt64LE(at));
  const word = (at: number) => bytes.readUInt32LE(at);
  const memoryBytes = whole(40);
  const stateBytes = whole(64);
  const [kind, protocol, irqchip, vcpus] = [word(72), word(76), word(80), word(84)];
  const [devices, sections, extentCount] = [word(88), word(92), word(96)];
  if (devices > MAX_DEVICES || sections > MAX_SECTIONS || extentCount > MAX_EXTENTS || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw corrupt('it has more parts than there can be');
  }
  const bootProtocol = ([, 'flat', 'linux'] as const)[protocol] as BootProtocol | undefined;
  const irqchipName = ([, 'split', 'full'] as const)[irqchip] as Irqchip | undefined;
  const kvmKind = ([, 'hardware', 'software'] as const)[kind];
  if (!bootProtocol || !irqchipName || !kvmKind) throw corrupt('it is of an unknown kind of machine');
  const extents = Array.from({ length: extentCount }, (_, index) => ({
    offset: whole(EXTENTS_AT + index * 16),
    length: whole(EXTENTS_AT + index * 16 + 8),
  }));
  checkExtents(extents, memoryBytes);
  const id = Buffer.from(bytes.subarray(16, 32));
  return {
    id,
    memoryChecksum: bytes.readBigUInt64LE(48),
    extents,
    description: {
      version,
      id: id.toString('hex'),
      createdAt: new Date(Math.min(whole(32), 8.64e15)),
      kvmKind,
      cpu: {
        vendor: bytes.toString('latin1', 116, 128).replace(/\0+$/, ''),
        family: word(100),
        model: word(104),
        stepping: word(108),
        features: word(112).toString(16).padStart(8, '0'),
      },
      bootProtocol,
      irqchip: irqchipName,
      vcpus,
      memoryMiB: memoryBytes / 1024 / 1024,
      devices: Array.from({ length: devices }, (_, index) => toDevice(bytes, DEVICES_AT + index * 32)),
      stateBytes,
      memoryBytes: memoryBytes + PAGE_BYTES,
      dataBytes: whole(56),
    },
  };
}

/** Checks the last page of `memory` against the header of `state`. Throws {@link SnapshotError}. */
export function checkTrailer(bytes: Buffer, header: SnapshotHeader): void {
  if (bytes.length < TRAILER_BYTES) throw new SnapshotError('truncated', 'its memory is shorter than its state says');
  const sameSize = toNumber(bytes.readBigUInt64LE(24)) === header.description.memoryBytes - PAGE_BYTES;
  if (bytes.readBigUInt64LE(0) !== TRAILER_MAGIC || !sameSize) {
    throw new SnapshotError('foreign', 'its memory is no memory of a snapshot of Volley’s, or of another size');
  }
  if (!bytes.subarray(8, 24).equals(header.id)) {
    throw new SnapshotError('foreign', 'its memory belongs to another snapshot than its state');
  }
}

function checkExtents(extents: SnapshotExtent[], memoryBytes: number): void {
  let end = 0;
  for (const { offset, length } of extents) {
    const aligned = offset % PAGE_BYTES === 0 && length % PAGE_BYTES === 0 && length > 0;
    if (!aligned || offset < end || offset + length > memoryBytes) {
      throw corrupt('an extent of memory lies outside of it or overlaps another');
    }
    end = offset + length;
  }
}

function toDevice(bytes: Buffer, at: number): SnapshotDevice {
  const flags = bytes.readUInt32LE(at + 4);
  const mtu = bytes.readUInt32LE(at + 28);
  switch (bytes.readUInt32LE(at)) {
    case 1:
      return {
        type: 'block',
        readOnly: (flags & READ_ONLY) !== 0,
        sizeBytes: toNumber(bytes.readBigUInt64LE(at + 8)),
      };
    case 2:
      return { type: 'net', ...(mtu === 0 ? {} : { mtu }) };
    case 3:
      return { type: 'vsock' };
    case 4:
      return {
        type: 'balloon',
        deflateOnOom: (flags & DEFLATE_ON_OOM) !== 0,
        reporting: (flags & REPORTING) !== 0,
        statistics: (flags & STATISTICS) !== 0,
      };
    case 5:
      return { type: 'rng' };
    default:
      throw corrupt('it has a device of an unknown type');
  }
}

function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt('a size in it is impossible');
  return Number(value);
}

const corrupt = (what: string) => new SnapshotError('corrupt', `its state is corrupt: ${what}`);
