/** One partition of a disk, in bytes from its beginning. */
export interface Partition {
  number: number;
  offset: number;
  bytes: number;
  /** Whether its type says that it holds Linux. */
  linux: boolean;
}

const SECTOR = 512;
/** Reads of the first sectors that are needed: the table of a GPT has its place, but may have another size. */
export const PARTITION_TABLE_BYTES = 34 * SECTOR;

const MBR_LINUX = 0x83;
const MBR_PROTECTIVE = 0xee;
/** As they stand on the disk: the first three fields in little endian. */
const GPT_LINUX = [
  'af3dc60f838472478e793d69d8477de4', // Linux file system
  'e3bc684fcde8b14d96e7fbcaf984b709', // root, x86-64
];

/** The partitions of a raw disk, in the order of the table; undefined: there is no table. */
export function partitionsOf(head: Buffer): Partition[] | undefined {
  if (head.length < SECTOR || head.readUInt16LE(510) !== 0xaa55) return undefined;
  const entries = [0, 1, 2, 3].map((i) => head.subarray(446 + 16 * i, 462 + 16 * i));
  if (entries.some((entry) => entry[4] === MBR_PROTECTIVE)) return gptPartitions(head) ?? [];
  // The boot sector of a file system has the same signature; its code is no table.
  if (entries.some((entry) => (entry[0]! & 0x7f) !== 0)) return undefined;
  const partitions = entries
    .map((entry, i) => ({
      number: i + 1,
      offset: entry.readUInt32LE(8) * SECTOR,
      bytes: entry.readUInt32LE(12) * SECTOR,
      linux: entry[4] === MBR_LINUX,
    }))
    .filter(({ bytes, offset }) => bytes > 0 && offset > 0);
  return partitions.length === 0 ? undefined : partitions;
}

function gptPartitions(head: Buffer): Partition[] | undefined {
  if (head.length < 2 * SECTOR || head.toString('latin1', SECTOR, SECTOR + 8) !== 'EFI PART') return undefined;
  const at = Number(head.readBigUInt64LE(SECTOR + 72)) * SECTOR;
  const count = Math.min(head.readUInt32LE(SECTOR + 80), 128);
  const size = head.readUInt32LE(SECTOR + 84);
  if (size < 128 || size > 4096) return undefined;
  const partitions: Partition[] = [];
  for (let i = 0; i < count && at + (i + 1) * size <= head.length; i++) {
    const entry = head.subarray(at + i * size, at + (i + 1) * size);
    const type = entry.toString('hex', 0, 16);
    if (/^0+$/.test(type)) continue;
    const first = Number(entry.readBigUInt64LE(32));
    const last = Number(entry.readBigUInt64LE(40));
    if (last < first || first === 0) continue;
    partitions.push({
      number: i + 1,
      offset: first * SECTOR,
      bytes: (last - first + 1) * SECTOR,
      linux: GPT_LINUX.includes(type),
    });
  }
  return partitions;
}
