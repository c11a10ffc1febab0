import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DiskReserve } from './disk-reserve';
import { countFramesBehind, decodeFrames, encodeFrame } from './frame';
import type { HostRecord } from './host-record';
import { emptyHostState, foldRecord, liveCount, snapshotRecords, type HostState } from './host-state';

/** Thrown by {@link HostJournal.append} when the record is not in the file, so what it describes must not be done. */
export class JournalWriteError extends Error {
  override readonly name = 'JournalWriteError';
  constructor(
    message: string,
    readonly code?: string,
  ) {
    super(message);
  }
}

/** With less free space than this on the journal's disk nothing new is begun: what runs must be able to tell how it ends. */
const LEAST_FREE_BYTES = 16 * 2 ** 20;

/**
 * What a record may be written with: the disk's free space, or also the reserve, which is kept for what has happened already and for
 * orders that end something.
 */
export type Means = 'room' | 'reserve';

/** Records of this long, ms, are synced together. */
const GROUP_MS = 20;

export interface HostJournalOptions {
  /** Existing or new directory on a disk that survives a reboot. */
  directory: string;
  /** Wall clock, ms. */
  now: () => number;
  log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
  /** Called once when a record could not be made safe against power loss; the file can then not be trusted any more. */
  onSyncFailure: (error: Error) => void;
  /** The file is rewritten when it holds this many records beyond twice what is alive. Default 20,000. */
  compactAbove?: number;
}

/**
 * The host's own journal: the truth about what runs here. A record is written (`write`) before the effect it describes, so an
 * agent that is killed at any point loses nothing: the kernel has the bytes. Against power loss the file is synced in groups,
 * one `fdatasync` at a time and at most every 20 ms; a group that power takes away describes VMMs that power took away
 * too, and what it told the controller is compared again when the host registers.
 *
 * Opening cuts a tail that is torn or damaged, keeps it aside and says so loudly.
 */
export class HostJournal {
  readonly state: HostState;
  readonly #path: string;
  #fd: number;
  #bytes: number;
  #records: number;
  #dirty = false;
  #syncing: Promise<void> | undefined;
  #closed = false;
  /** Ends the pause before the next group. */
  #hurry: (() => void) | undefined;
  #broken: Error | undefined;
  /** Said aloud that the disk is full, and nothing was written without the reserve since. */
  #full = false;
  readonly #reserve: DiskReserve;

  private constructor(
    private readonly options: HostJournalOptions,
    opened: { path: string; fd: number; bytes: number; records: number; state: HostState },
  ) {
    this.#path = opened.path;
    this.#fd = opened.fd;
    this.#bytes = opened.bytes;
    this.#records = opened.records;
    this.state = opened.state;
    this.#reserve = new DiskReserve(`${opened.path}.reserve`);
    this.#reserve.refill();
  }

  static open(options: HostJournalOptions): HostJournal {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    const path = join(options.directory, 'journal');
    rmSync(`${path}.new`, { force: true }); // a rewrite that was interrupted
    const fd = openSync(path, 'a+', 0o600);
    const data = readFileSync(fd);
    const { records, goodBytes } = decodeFrames(data);
    if (goodBytes < data.length) {
      const aside = `${path}.cut-${Math.floor(options.now())}`;
      writeFileSync(aside, data.subarray(goodBytes), { mode: 0o600 });
      ftruncateSync(fd, goodBytes);
      const wholeBehind = countFramesBehind(data, goodBytes);
      const fields = { path, goodBytes, cutBytes: data.length - goodBytes, wholeBehind, aside };
      if (wholeBehind === 0) options.log.warn(fields, 'the journal had a torn tail; it was cut and kept aside');
      else
        options.log.error(
          fields,
          'the journal is damaged: whole records lay behind the damage; all of it was cut and kept aside',
        );
    }
    const state = emptyHostState();
    for (const record of records) foldRecord(state, record as HostRecord);
    return new HostJournal(options, { path, fd, bytes: goodBytes, records: records.length, state });
  }

  /** Records in the file; for tests and metrics. */
  get recordCount(): number {
    return this.#records;
  }

  /** Why nothing new may be begun, as far as that is the disk's fault; with what to do about it. Takes the reserve back when there is room. */
  get noRoom(): string | undefined {
    const { directory } = this.options;
    if (this.#closed) return undefined; // says so itself when it is to be written
    const { bavail, bsize } = statfsSync(directory);
    const free = bavail * bsize;
    const enough = free >= LEAST_FREE_BYTES;
    if (enough && this.#reserve.refill()) return undefined;
    if (enough) return `the reserve of the journal cannot be written at ${directory}; look at that disk and its quotas`;
    const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);
    return (
      `the disk of this host is full: ${mib(free)} MiB are free at ${directory}, ` +
      `${mib(LEAST_FREE_BYTES)} MiB are kept for its journal; free some`
    );
  }

  /**
   * Writes one record and folds it in. When it returns, the record survives the death of this process.
   *
   * @throws JournalWriteError when the disk is full or failing; the record is not in the file then.
   */
  append(record: Omit<HostRecord, 'at'>, means: Means = 'reserve'): void {
    if (this.#closed) throw new JournalWriteError('the journal is closed: the agent is shutting down');
    if (this.#broken) throw new JournalWriteError(`the journal cannot be written any more: ${this.#broken.message}`);
    const stamped: HostRecord = { at: Math.floor(this.options.now()), ...record };
    this.#write(encodeFrame(stamped), means);
    foldRecord(this.state, stamped);
    this.#records++;
    this.#dirty = true;
    void this.#syncSoon();
    if (this.#records > (this.options.compactAbove ?? 20_000) + 2 * liveCount(this.state)) this.#compact();
  }

  #write(frame: Buffer, means: Means): void {
    try {
      this.#writeOnce(frame);
    } catch (error) {
      const { code } = error as JournalWriteError;
      const full = code === 'ENOSPC' || code === 'EDQUOT';
      if (!full || means !== 'reserve' || !this.#reserve.spend()) throw error;
      if (!this.#full)
        this.options.log.error({ path: this.#path }, 'the disk is full: the journal lives on its reserve; free some');
      this.#full = true;
      return this.#write(frame, means);
    }
    this.#full &&= means === 'reserve';
  }

  #writeOnce(frame: Buffer): void {
    let written = 0;
    try {
      while (written < frame.length) written += writeSync(this.#fd, frame, written);
      this.#bytes += frame.length;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Half a record must not stay in front of the next one.
      try {
        ftruncateSync(this.#fd, this.#bytes);
      } catch (failure) {
        this.#broken = failure as Error;
      }
      throw new JournalWriteError(`cannot write the journal ${this.#path}: ${message}`, code);
    }
  }

  /** Resolves when everything appended before the call is safe against power loss. */
  async sync(): Promise<void> {
    this.#hurry?.();
    while (!this.#broken && (this.#dirty || this.#syncing)) await this.#syncSoon();
  }

  #syncSoon(): Promise<void> {
    this.#syncing ??= this.#syncGroup().finally(() => (this.#syncing = undefined));
    return this.#syncing;
  }

  async #syncGroup(): Promise<void> {
    while (this.#dirty && !this.#closed && !this.#broken) {
      // A group takes with it what is appended meanwhile. Syncing without a pause would also slow down every write.
      await this.#gap();
      this.#dirty = false;
      const fd = this.#fd;
      const error = await new Promise<Error | null>((resolve) => fdatasync(fd, resolve));
      if (error && fd === this.#fd && !this.#closed) {
        // After a failed sync the kernel may have dropped the pages and forgotten about it: trying again proves nothing.
        this.#broken = error;
        this.options.onSyncFailure(error);
      }
    }
  }

  #gap(): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#hurry = undefined;
        resolve();
      };
      const timer = setTimeout(end, GROUP_MS);
      this.#hurry = end;
    });
  }

  /** Rewrites the file with what is alive. Blocks for some ms, once in tens of thousands of records. */
  #compact(): void {
    const path = `${this.#path}.new`;
    const records = snapshotRecords(this.state, Math.floor(this.options.now()));
    let fd: number | undefined;
    try {
      fd = openSync(path, 'ax', 0o600);
      const data = Buffer.concat(records.map(encodeFrame));
      for (let at = 0; at < data.length;) at += writeSync(fd, data, at);
      fdatasyncSync(fd);
      renameSync(path, this.#path);
      this.#bytes = data.length;
    } catch (error) {
      // The old file is whole and goes on; try again after as many records more.
      this.options.log.error({ err: error, path }, 'the journal could not be compacted');
      if (fd !== undefined) closeSync(fd);
      rmSync(path, { force: true });
      this.#records = 0;
      return;
    }
    const old = this.#fd;
    this.#fd = fd;
    this.#records = records.length;
    syncDirectory(this.options.directory);
    // A sync of the old file may be under way: its descriptor must not be given to somebody else meanwhile.
    void (this.#syncing ?? Promise.resolve()).finally(() => closeSync(old));
  }

  /** Syncs and closes. What is appended later is refused. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.sync();
    this.#closed = true;
    closeSync(this.#fd);
    this.#reserve.close();
  }
}

/** Makes a rename in a directory safe against power loss. */
function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
