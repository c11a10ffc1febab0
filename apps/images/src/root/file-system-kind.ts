/** What lies on a disk or in a partition, as its first bytes say. */
export type FileSystemKind =
  | {
      type: 'squashfs' | 'erofs' | 'ext4';
      /** Its own size; the file or partition must not be shorter. */ bytes: number;
      unclean: boolean;
    }
  | { type: 'other'; name: string }
  | { type: 'unknown' };

/** So many bytes of the beginning are looked at. */
export const FILE_SYSTEM_HEAD_BYTES = 0x10048 + 8;

const EXT4_NEEDS_RECOVERY = 0x4;
const EXT4_64BIT = 0x80;

/** What cannot be a root file system here, by its name. */
const OTHERS: readonly [number, string, string][] = [
  [0, '514649fb', 'a qcow2 image (make it raw: qemu-img convert -O raw)'],
  [0, '4b444d56', 'a VMDK image (make it raw: qemu-img convert -O raw)'],
  [0, '7668647866696c65', 'a VHDX image (make it raw: qemu-img convert -O raw)'],
  [0x40, '7f10dabe', 'a VDI image (make it raw: qemu-img convert -O raw)'],
  [0, '58465342', 'an XFS file system'],
  [0, '4c554b53babe', 'an encrypted disk (LUKS)'],
  [0x218, '4c564d32', 'a volume of LVM'],
  [0x10040, '5f42485266535f4d', 'a Btrfs file system'],
  [0x8001, '4344303031', 'an ISO 9660 file system'],
  [0xff6, '53574150535041434532', 'swap space'],
  [3, '4e54465320202020', 'an NTFS file system'],
];

export function fileSystemKind(head: Buffer): FileSystemKind {
  const has = (offset: number, hex: string): boolean =>
    head.subarray(offset, offset + hex.length / 2).toString('hex') === hex;
  if (has(0, '68737173') && head.length >= 96) {
    return { type: 'squashfs', bytes: Number(head.readBigUInt64LE(40)), unclean: false };
  }
  if (has(1024, 'e2e1f5e0') && head.length >= 1024 + 128) {
    return { type: 'erofs', bytes: head.readUInt32LE(1024 + 36) * 2 ** head.readUInt8(1024 + 12), unclean: false };
  }
  if (has(1024 + 0x38, '53ef') && head.length >= 1024 + 1024) {
    const incompatible = head.readUInt32LE(1024 + 0x60);
    const high = incompatible & EXT4_64BIT ? head.readUInt32LE(1024 + 0x150) : 0;
    const blocks = high * 2 ** 32 + head.readUInt32LE(1024 + 0x04);
    const bytes = blocks * 1024 * 2 ** head.readUInt32LE(1024 + 0x18);
    return { type: 'ext4', bytes, unclean: (incompatible & EXT4_NEEDS_RECOVERY) !== 0 };
  }
  const other = OTHERS.find(([offset, hex]) => has(offset, hex));
  return other ? { type: 'other', name: other[2] } : { type: 'unknown' };
}
