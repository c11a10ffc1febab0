import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
};
const COMPRESSIBLE = /^(text\/|image\/svg|application\/json)/;
const MAX_FILE_BYTES = 8 * 1024 * 1024;

export interface ConsoleFile {
  type: string;
  etag: string;
  content: Buffer;
  /** The same for clients that take gzip, when that is smaller. */
  gzipped: Buffer | undefined;
  /** Its name changes with its content, so it may be kept for ever. */
  immutable: boolean;
}

/** The built page, read once into memory: only what was there can be asked for, whatever the path in a request says. */
export class ConsoleFiles {
  #files: Map<string, ConsoleFile>;
  #readAt = performance.now();

  constructor(private readonly folder: string) {
    this.#files = readAll(folder);
  }

  /** A file by its path below the folder. While there is no page, the folder is looked at again, once a second at most. */
  find(path: string): ConsoleFile | undefined {
    if (!this.#files.has('index.html') && performance.now() - this.#readAt > 1_000) {
      this.#readAt = performance.now();
      this.#files = readAll(this.folder);
    }
    return this.#files.get(path);
  }
}

function readAll(folder: string): Map<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>();
  for (const below of ['', 'assets']) {
    let entries;
    try {
      entries = readdirSync(join(folder, below), { withFileTypes: true });
    } catch {
      continue; // not built, or built without assets
    }
    for (const entry of entries) {
      const type = TYPES[extname(entry.name)];
      if (!entry.isFile() || type === undefined) continue;
      const content = readFileSync(join(folder, below, entry.name));
      if (content.length > MAX_FILE_BYTES) continue;
      const gzipped = COMPRESSIBLE.test(type) ? gzipSync(content) : undefined;
      files.set(below === '' ? entry.name : `${below}/${entry.name}`, {
        type,
        etag: `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`,
        content,
        gzipped: gzipped && gzipped.length < content.length ? gzipped : undefined,
        immutable: below === 'assets' && /-[\w-]{8,}\.\w+(\.map)?$/.test(entry.name),
      });
    }
  }
  return files;
}
