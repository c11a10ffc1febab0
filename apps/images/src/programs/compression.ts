import { open } from 'node:fs/promises';

/** How something is compressed, and the program that undoes it from standard input to standard output. */
export interface Compression {
  name: string;
  program: string;
  args: readonly string[];
  package: string;
}

const KNOWN: readonly (Compression & { magic: string })[] = [
  { name: 'gzip', magic: '1f8b', program: 'gzip', args: ['-dc'], package: 'gzip' },
  { name: 'xz', magic: 'fd377a585a00', program: 'xz', args: ['-dc'], package: 'xz-utils' },
  { name: 'zstd', magic: '28b52ffd', program: 'zstd', args: ['-dcq'], package: 'zstd' },
  { name: 'lz4', magic: '02214c18', program: 'lz4', args: ['-dcq'], package: 'lz4' },
  { name: 'lz4', magic: '04224d18', program: 'lz4', args: ['-dcq'], package: 'lz4' },
  { name: 'bzip2', magic: '425a68', program: 'bzip2', args: ['-dc'], package: 'bzip2' },
  { name: 'lzma', magic: '5d0000', program: 'xz', args: ['--format=lzma', '-dc'], package: 'xz-utils' },
  { name: 'lzo', magic: '894c5a4f', program: 'lzop', args: ['-dc'], package: 'lzop' },
];

/** What the first bytes say; undefined: not compressed, or in no way that is known. */
export function compressionOf(head: Uint8Array): Compression | undefined {
  const hex = Buffer.from(head.subarray(0, 8)).toString('hex');
  return KNOWN.find(({ magic }) => hex.startsWith(magic));
}

/** The first bytes of a file, fewer when it is shorter. */
export async function headOf(path: string, bytes: number, offset = 0): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(buffer, 0, bytes, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
