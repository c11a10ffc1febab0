import { ImageError } from '#images';

/** What a file that may be a kernel is. */
export type KernelFile =
  | { kind: 'vmlinux' }
  | { kind: 'bzImage'; release: string | undefined; payload: { offset: number; bytes: number } }
  | { kind: 'package' };

/** So many bytes of the beginning are looked at. */
export const KERNEL_HEAD_BYTES = 64 * 1024;

const X86_64 = 62;
const SETUP_SIGNATURE = 'HdrS';
/** The first protocol that says where the payload is (Linux 2.6.24). */
const PAYLOAD_PROTOCOL = 0x0208;

/**
 * Tells kinds of kernels apart by their first bytes.
 *
 * @throws ImageError `wrongArchitecture` or `notUnderstood`
 */
export function kernelFile(head: Buffer, title: string): KernelFile {
  if (head.toString('latin1', 0, 4) === '\x7fELF') {
    requireElf(head, title);
    return { kind: 'vmlinux' };
  }
  if (head.toString('latin1', 0, 8) === '!<arch>\n') return { kind: 'package' };
  if (head.length > 0x260 && head.toString('latin1', 0x202, 0x206) === SETUP_SIGNATURE) return bzImage(head, title);
  if (head.toString('latin1', 56, 60) === 'ARMd') {
    throw new ImageError('wrongArchitecture', `${title} is a kernel for arm64; microVMs run linux/amd64`);
  }
  throw new ImageError(
    'notUnderstood',
    `${title} is neither a bzImage, nor a vmlinux, nor a Debian package of a kernel`,
  );
}

/** @throws ImageError when this is not the beginning of a kernel for x86-64 as an ELF file. */
export function requireElf(head: Buffer, title: string): void {
  const elf = head.length >= 64 && head.toString('latin1', 0, 4) === '\x7fELF';
  const executable = elf && [2, 3].includes(head.readUInt16LE(16));
  if (!executable) throw new ImageError('corrupted', `${title} holds no kernel that can be run`);
  if (head[4] !== 2 || head.readUInt16LE(18) !== X86_64) {
    throw new ImageError('wrongArchitecture', `${title} is not a kernel for x86-64; microVMs run linux/amd64`);
  }
}

function bzImage(head: Buffer, title: string): KernelFile {
  const protocol = head.readUInt16LE(0x206);
  if (protocol < PAYLOAD_PROTOCOL) {
    throw new ImageError('notUnderstood', `${title} is a kernel from before Linux 2.6.24`);
  }
  const setupSectors = head[0x1f1] === 0 ? 4 : head[0x1f1]!;
  const offset = (setupSectors + 1) * 512 + head.readUInt32LE(0x248);
  const bytes = head.readUInt32LE(0x24c);
  return { kind: 'bzImage', release: releaseIn(head), payload: { offset, bytes } };
}

/** `6.1.0-25-cloud-amd64 (debian-kernel@...) #1 SMP ...` -> its first word. */
function releaseIn(head: Buffer): string | undefined {
  const pointer = head.readUInt16LE(0x20e);
  if (pointer === 0) return undefined;
  const text = head.toString('latin1', pointer + 0x200, pointer + 0x200 + 256);
  return /^[^\s\0]+/.exec(text)?.[0];
}
