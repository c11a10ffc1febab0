import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { ImageError } from '#images';
import { compressionOf, headOf } from '../programs/compression';
import { ProgramError, runProgram, type ProgramRun } from '../programs/run-program';

/** What every step of an import works with. */
export interface ImportContext {
  /** A folder for this import alone, removed after it. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Largest file that may come of it, in bytes. */
  readonly maxBytes: number;
  /** How long a registry may be silent, in ms. */
  readonly registryMs: number;
  /** Says what is being done: one short sentence without a stop. */
  say(message: string): void;
}

/** Runs a program in the import's folder. */
export function run(
  context: ImportContext,
  options: Pick<ProgramRun, 'program' | 'args' | 'package' | 'deadlineMs'> & Partial<ProgramRun>,
): Promise<string> {
  return runProgram({ folder: context.folder, signal: context.signal, ...options });
}

const DECOMPRESSION_MS = 30 * 60_000;

/**
 * The file as it is without compression: the same one, or a new one in the import's folder.
 *
 * @throws ImageError `corrupted`, or as {@link runProgram} does.
 */
export async function decompressed(context: ImportContext, path: string, name: string): Promise<string> {
  const compression = compressionOf(await headOf(path, 8));
  if (!compression) return path;
  context.say(`decompressing ${name} (${compression.name})`);
  const output = join(context.folder, `${name}.plain`);
  try {
    await run(context, {
      ...compression,
      input: createReadStream(path, { highWaterMark: 1 << 20 }),
      outputFile: output,
      maxOutputBytes: context.maxBytes,
      deadlineMs: DECOMPRESSION_MS,
    });
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    throw new ImageError('corrupted', `${name} cannot be decompressed as ${compression.name}: ${error.message}`);
  }
  return output;
}
