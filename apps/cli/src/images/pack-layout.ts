import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';

/** A folder with an image in the layout of OCI, as the archive that others would make of it. */
export function packLayout(folder: string): Readable {
  const archive = pack();
  const fill = async (): Promise<void> => {
    const names = (await readdir(folder, { recursive: true })).sort();
    for (const name of names) {
      const path = join(folder, name);
      const found = await stat(path);
      if (!found.isFile()) continue;
      const entry = archive.entry({ name, size: found.size, mode: 0o644, mtime: new Date(0) });
      await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), entry);
    }
    archive.finalize();
  };
  fill().catch((error: Error) => archive.destroy(error));
  return Readable.from(archive as AsyncIterable<Buffer>);
}
