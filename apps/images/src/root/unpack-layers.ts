import { join } from 'node:path';
import { ImageError } from '#images';
import { run, type ImportContext } from '../import/import-context';
import { ProgramError } from '../programs/run-program';
import { LAYOUT, LAYOUT_IMAGE } from '../oci/skopeo';

const UNPACK_MS = 60 * 60_000;

/**
 * Unpacks the image of the layout, layer over layer; gives the folder.
 *
 * @throws ImageError `cannot` without the rights that owners and device files need; `corrupted` or `noSpace`.
 */
export async function unpackLayers(context: ImportContext): Promise<string> {
  if (process.getuid?.() !== 0) {
    throw new ImageError('cannot', 'images of layers are unpacked as root only: their files belong to many users');
  }
  try {
    await run(context, {
      program: 'umoci',
      package: 'umoci',
      args: ['raw', 'unpack', '--image', `${LAYOUT}:${LAYOUT_IMAGE}`, 'tree'],
      deadlineMs: UNPACK_MS,
    });
    // What the layers say nothing about is dated by the clock: equal images would not be equal.
    await run(context, {
      program: 'find',
      package: 'findutils',
      args: ['tree', '-newer', 'policy.json', '-exec', 'touch', '--no-dereference', '--date=@0', '{}', '+'],
      deadlineMs: UNPACK_MS,
    });
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    if (/no space left on device|disk quota exceeded/i.test(error.stderr)) {
      throw new ImageError('noSpace', 'no room on the disk to unpack the image; free some and try again');
    }
    throw new ImageError('corrupted', `the layers of the image cannot be unpacked: ${error.message}`);
  }
  return join(context.folder, 'tree');
}
