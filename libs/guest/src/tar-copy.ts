import { once } from 'node:events';
import { Readable, type Duplex } from 'node:stream';
import { extract, pack, type Header } from 'tar-stream';
import { decodeEntry, encodeEntry, type EntryKind, type GuestEntry } from './entry';
import { GuestConnectionError, GuestProtocolError, GuestRequestError } from './errors';
import { GUEST_FRAME, GUEST_FRAME_MAX } from './frame';
import { GuestExchange, takeResult } from './guest-exchange';

/** After the last byte: the guest has written everything by then and only closes files. */
const RESULT_MS = 60_000;

/**
 * Copies a tar stream into a guest; volley_guest.h says what becomes of the paths in it.
 *
 * @throws GuestRefusedError with the guest's reason, GuestConnectionError, GuestProtocolError, GuestRequestError when the
 * stream is no tar archive or holds what cannot be copied.
 */
export async function putTar(stream: Duplex, path: string, tar: Readable): Promise<void> {
  const exchange = new GuestExchange(stream);
  const archive = extract();
  tar.on('error', (error) => archive.destroy(error));
  let isOver = false;
  // The guest may refuse at any time, or be gone, and it is of no use to wait for the rest then.
  const answer = exchange
    .frames()
    .next()
    .then(({ value, done }) => {
      if (done) throw new GuestConnectionError('the guest closed the connection without an answer');
      takeResult(value);
    })
    .finally(() => {
      isOver = true;
      archive.destroy();
    });
  answer.catch(() => undefined);
  try {
    await exchange.send(GUEST_FRAME.put, Buffer.from(path, 'utf8'));
    tar.pipe(archive);
    await sendEntries(exchange, archive).catch((error: unknown) => {
      if (!isOver) throw error;
    });
    if (!isOver) await exchange.send(GUEST_FRAME.end);
    await within(answer, RESULT_MS);
  } catch (error) {
    // The guest's own word tells more than a connection that it closed after it.
    if (error instanceof GuestConnectionError) await within(answer, 1_000);
    throw error;
  } finally {
    tar.destroy();
    exchange.close();
  }
}

async function sendEntries(exchange: GuestExchange, archive: Extract): Promise<void> {
  try {
    for await (const content of archive) {
      await exchange.send(GUEST_FRAME.entry, encodeEntry(entryOf(content.header)));
      for await (const chunk of content) {
        const bytes = chunk as Buffer;
        for (let at = 0; at < bytes.length; at += GUEST_FRAME_MAX) {
          await exchange.send(GUEST_FRAME.data, bytes.subarray(at, at + GUEST_FRAME_MAX));
        }
      }
    }
  } catch (error) {
    if (error instanceof GuestConnectionError || error instanceof GuestRequestError) throw error;
    throw new GuestRequestError(`this is no whole tar archive: ${(error as Error).message}`);
  }
}

type Extract = ReturnType<typeof extract>;
type Pack = ReturnType<typeof pack>;

const KINDS: Record<string, EntryKind> = {
  file: 'file',
  'contiguous-file': 'file',
  directory: 'folder',
  symlink: 'symlink',
  link: 'link',
};

function entryOf(header: Header): GuestEntry {
  const kind = KINDS[header.type ?? 'file'];
  if (!kind) throw new GuestRequestError(`${header.name} is a ${header.type}, which cannot be copied into a guest`);
  return {
    kind,
    path: header.name,
    mode: header.mode ?? (kind === 'folder' ? 0o755 : 0o644),
    uid: header.uid ?? 0,
    gid: header.gid ?? 0,
    size: kind === 'file' ? (header.size ?? 0) : 0,
    modified: (header.mtime?.getTime() ?? 0) / 1_000,
    target: header.linkname ?? '',
  };
}

/**
 * Copies a file or folder of a guest out, as a tar stream that fails when the copy does: with GuestRefusedError,
 * GuestConnectionError or GuestProtocolError. Resolves with the first word of the guest, so that a path that is not there is
 * known before anything is read.
 */
export async function getTar(stream: Duplex, path: string): Promise<Readable> {
  const exchange = new GuestExchange(stream);
  const frames = exchange.frames();
  let first;
  try {
    await exchange.send(GUEST_FRAME.get, Buffer.from(path, 'utf8'));
    first = await frames.next();
    if (first.done) throw new GuestConnectionError('the guest closed the connection without an answer');
    if (first.value.type !== GUEST_FRAME.entry) takeResult(first.value);
  } catch (error) {
    exchange.close();
    throw error;
  }
  const archive = pack();
  const filling = fill(archive, first.value, frames);
  filling.then(
    () => exchange.close(),
    (error: Error) => {
      exchange.close();
      archive.destroy(error);
    },
  );
  archive.on('close', () => exchange.close());
  return Readable.from(archive, { objectMode: false });
}

async function fill(
  archive: Pack,
  first: { type: number; body: Buffer },
  frames: AsyncGenerator<{ type: number; body: Buffer }>,
) {
  let file: ReturnType<Pack['entry']> | undefined;
  let missing = 0;
  const take = async ({ type, body }: { type: number; body: Buffer }): Promise<boolean> => {
    switch (type) {
      case GUEST_FRAME.entry: {
        if (missing > 0) throw new GuestProtocolError('the guest left a file unfinished');
        const entry = decodeEntry(body);
        missing = entry.kind === 'file' ? entry.size : 0;
        file = archive.entry(headerOf(entry));
        file.on('error', () => undefined); // the archive's own error tells it
        if (missing === 0) file.end(undefined);
        return false;
      }
      case GUEST_FRAME.data:
        if (!file || body.length > missing) throw new GuestProtocolError('the guest sent more of a file than it told');
        missing -= body.length;
        if (!file.write(body)) await drained(file, archive);
        if (missing === 0) file.end(undefined);
        return false;
      case GUEST_FRAME.end:
        if (missing > 0) throw new GuestProtocolError('the guest left a file unfinished');
        archive.finalize();
        return true;
      default:
        takeResult({ type, body });
        throw new GuestProtocolError('the guest says that it is done and not that all was sent');
    }
  };
  if (await take(first)) return;
  for await (const frame of frames) if (await take(frame)) return;
  throw new GuestConnectionError('the guest closed the connection before all was copied');
}

function headerOf(entry: GuestEntry): Partial<Header> & { name: string } {
  const { mode, uid, gid, kind, path, size, target, modified } = entry;
  return {
    name: kind === 'folder' ? `${path}/` : path,
    mode,
    uid,
    gid,
    mtime: new Date(modified * 1_000),
    type: kind === 'folder' ? 'directory' : kind,
    ...(kind === 'file' ? { size } : {}),
    ...(kind === 'symlink' || kind === 'link' ? { linkname: target } : {}),
  };
}

async function drained(sink: NodeJS.WritableStream, archive: Pack): Promise<void> {
  const stopped = new AbortController();
  const { signal } = stopped;
  try {
    await Promise.race([
      once(sink, 'drain', { signal }),
      once(archive, 'close', { signal }).then(() => {
        throw new GuestConnectionError('nobody reads the copy any more');
      }),
    ]);
  } finally {
    stopped.abort();
  }
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new GuestConnectionError(`no answer of the guest within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
