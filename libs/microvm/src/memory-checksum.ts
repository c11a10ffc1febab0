import type { FileHandle } from 'node:fs/promises';
import { crc32c } from './crc32c';
import { PAGE_BYTES, type SnapshotExtent } from './snapshot-header';

const AT_ONCE = 256 * PAGE_BYTES;
const ZEROS = Buffer.alloc(PAGE_BYTES);

/** The checksum of a `memory` file, as native/vmm/src/snapshot/memory_checksum.h. Reads all of its data. */
export async function memoryChecksum(memory: FileHandle, extents: readonly SnapshotExtent[]): Promise<bigint> {
  let sum = 0n;
  const buffer = Buffer.alloc(AT_ONCE);
  for (const { offset, length } of extents) {
    for (let at = 0; at < length; at += AT_ONCE) {
      const wanted = Math.min(AT_ONCE, length - at);
      for (let done = 0; done < wanted;) {
        const { bytesRead } = await memory.read(buffer, done, wanted - done, offset + at + done);
        if (bytesRead === 0) return sum; // shorter than it was: not what it was summed up to be
        done += bytesRead;
      }
      for (let page = 0; page < wanted; page += PAGE_BYTES) {
        sum += pageChecksum((offset + at + page) / PAGE_BYTES, buffer.subarray(page, page + PAGE_BYTES));
      }
    }
  }
  return BigInt.asUintN(64, sum);
}

function pageChecksum(index: number, page: Buffer): bigint {
  if (page.equals(ZEROS)) return 0n;
  let value = (BigInt(crc32c(page)) << 32n) ^ BigInt(index);
  value = BigInt.asUintN(64, (value ^ (value >> 30n)) * 0xbf58476d1ce4e5b9n);
  value = BigInt.asUintN(64, (value ^ (value >> 27n)) * 0x94d049bb133111ebn);
  return value ^ (value >> 31n);
}
