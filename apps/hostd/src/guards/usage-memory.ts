import { readFileSync } from 'node:fs';
import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { MicrovmUsage } from '#scheduling';
import { countFramesBehind, decodeFrames, encodeFrame } from '../journal/frame';

/** What a record of use is for: windows of another length or number, or of another agreement about waiting, are of no use. */
export interface UsageLook {
  windows: number;
  windowSeconds: number;
  /** Less than this is compliant; absent where nobody asks. */
  waitPercent?: number | undefined;
}

/** Of the file; raised with any change to what its records mean. An agent begins anew with one that it does not know. */
const FORMAT = 1;
const Header = z.strictObject({
  format: z.literal(FORMAT),
  windows: z.int(),
  windowSeconds: z.int(),
  waitPercent: z.number().optional(),
});
/** microVM, vCPUs and MiB promised, cores wanted, percent of it waited, MiB used. */
const Usage = z.tuple([z.string(), z.number(), z.number(), z.number(), z.number(), z.number()]);
const Window = z.strictObject({ endedMs: z.number(), usages: z.array(Usage) });
type Window = z.infer<typeof Window>;

const MOST_BYTES = 32 * 2 ** 20;

export interface UsageMemoryParts {
  /** In the host directory. */
  path: string;
  /** Wall clock, ms. */
  wallMs: () => number;
  log: Logger;
  /** Of the file; what does not fit is forgotten, the oldest first. */
  mostBytes?: number;
}

/**
 * What predicting policies have seen, over restarts of the agent: a file of frames with checksums, one for each window. It spares the
 * time in which nothing is promised twice, and nothing else: whatever is wrong with it, the agent begins anew and says so.
 */
export class UsageMemory {
  /** What the file holds; undefined: nothing that counts. `isWhole`: the next record can be written behind it. */
  #file: { look: string; windows: number; bytes: number; isWhole: boolean } | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  /** Why nothing can be kept at present, as it was said. */
  #trouble: string | undefined;

  constructor(private readonly parts: UsageMemoryParts) {}

  /** What was seen in the last windows, the oldest first; nothing of what is so old that none of them would count by now. */
  recall(look: UsageLook): MicrovmUsage[][] {
    const { path, wallMs, log } = this.parts;
    this.#file = undefined;
    let data: Buffer;
    try {
      data = readFileSync(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT')
        log.error({ err: error, path }, 'what was seen before cannot be read: begun anew');
      return [];
    }
    const windows = this.#windowsOf(data, look);
    if (!windows) return [];
    const oldestMs = wallMs() - 2 * look.windows * look.windowSeconds * 1_000;
    const recent = windows.filter(({ endedMs }) => endedMs >= oldestMs).slice(-look.windows);
    log.info({ windows: recent.length, path }, 'what was seen before counts on');
    return recent.map(({ usages }) =>
      usages.map(([microvmId, vcpus, memoryMiB, wantedCores, waitPercent, usedMiB]) => {
        return { microvmId, vcpus, memoryMiB, wantedCores, waitPercent, usedMiB };
      }),
    );
  }

  /** Notes a window that has ended. Never rejects: what cannot be written is said once, and tried again with the next window. */
  keep(look: UsageLook, usages: readonly MicrovmUsage[]): Promise<void> {
    const window: Window = {
      endedMs: this.parts.wallMs(),
      usages: usages.map((one) => [
        one.microvmId,
        one.vcpus,
        one.memoryMiB,
        fourDigits(one.wantedCores),
        fourDigits(one.waitPercent),
        fourDigits(one.usedMiB),
      ]),
    };
    const done = this.#writing.then(() => this.#write(look, window));
    this.#writing = done;
    return done;
  }

  /** The windows of a file that is sound and for this look. */
  #windowsOf(data: Buffer, look: UsageLook): Window[] | undefined {
    const { path, log } = this.parts;
    const { records, goodBytes } = decodeFrames(data);
    const header = Header.safeParse(records[0]);
    const windows = z.array(Window).safeParse(records.slice(1));
    // What is torn at the end was being written when the agent died.
    const isWhole = goodBytes === data.length;
    if (!header.success || !windows.success || (!isWhole && countFramesBehind(data, goodBytes) > 0)) {
      log.error({ path }, 'the record of what was seen before is damaged, or of another build: begun anew');
      return undefined;
    }
    const { format: _format, ...recorded } = header.data;
    if (keyOf(recorded) !== keyOf(look)) return undefined;
    this.#file = { look: keyOf(look), windows: windows.data.length, bytes: data.length, isWhole };
    return windows.data;
  }

  async #write(look: UsageLook, window: Window): Promise<void> {
    const { path, log } = this.parts;
    try {
      await this.#add(look, encodeFrame(window));
      if (this.#trouble !== undefined) log.info({ path }, 'what this host sees is kept again');
      this.#trouble = undefined;
    } catch (error) {
      if (this.#file) this.#file.isWhole = false;
      const trouble = String(codeOf(error));
      if (trouble === this.#trouble) return; // a full disk stays full for longer than a window
      this.#trouble = trouble;
      log.error({ err: error, path }, 'what this host has seen cannot be kept: it counts until the agent ends');
    }
  }

  async #add(look: UsageLook, frame: Buffer): Promise<void> {
    const { path, mostBytes = MOST_BYTES } = this.parts;
    const file = this.#file?.look === keyOf(look) ? this.#file : undefined;
    const fits = file?.isWhole && file.windows < 2 * look.windows && file.bytes + frame.length <= mostBytes;
    if (!fits) return this.#rewrite(look, file ? await this.#recordsThere() : [], frame);
    await appendFile(path, frame);
    file.windows++;
    file.bytes += frame.length;
  }

  /** What is sound of the file; nothing of one that cannot be read, or it would be in the way of what comes for ever. */
  async #recordsThere(): Promise<readonly unknown[]> {
    const data = await readFile(this.parts.path).catch(() => Buffer.alloc(0));
    return decodeFrames(data).records.slice(1);
  }

  /** With the newest of what was there, as many as count and take up to half of the room, in one step. */
  async #rewrite(look: UsageLook, before: readonly unknown[], frame: Buffer): Promise<void> {
    const { path, mostBytes = MOST_BYTES } = this.parts;
    const frames = [frame];
    let bytes = frame.length;
    for (const record of before.slice(1 - look.windows).reverse()) {
      const one = encodeFrame(record);
      if (bytes + one.length > mostBytes / 2) break;
      frames.unshift(one);
      bytes += one.length;
    }
    const header = encodeFrame({ format: FORMAT, ...look });
    const fresh = `${path}.new`;
    await rm(fresh, { force: true });
    try {
      await writeFile(fresh, Buffer.concat([header, ...frames]), { mode: 0o600, flag: 'wx' });
      await rename(fresh, path);
    } catch (error) {
      await rm(fresh, { force: true }).catch(() => undefined); // what there is of it takes room that others lack
      throw error;
    }
    this.#file = { look: keyOf(look), windows: frames.length, bytes: header.length + bytes, isWhole: true };
  }
}

const keyOf = ({ windows, windowSeconds, waitPercent }: UsageLook): string =>
  [windows, windowSeconds, waitPercent].join();

const fourDigits = (value: number): number => Math.round(value * 1e4) / 1e4;

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException).code;
