export { ArchiveEntryError, cpioArchive, writeCpioArchive } from './cpio-archive';
export type { ArchiveDevice, ArchiveEntry, ArchiveFile, ArchiveFolder, ArchiveLink } from './entries';
