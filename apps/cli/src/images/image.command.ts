import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { Transform } from 'node:stream';
import { Option, type Command } from 'commander';
import type { Image, ImageJob, ImageSource } from '#protocol';
import { contextOf, type Context } from '../commands/context';
import { durationOption } from '../commands/option-types';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { age, bytesText } from '../output/quantities';
import { table } from '../output/table';
import { FILE_FORMATS, inspectLocal, type FileFormat } from './local-file';
import { packLayout } from './pack-layout';

interface ImportOptions {
  name?: string;
  format?: FileFormat;
  kernel?: string;
  digest?: string;
  username?: string;
  passwordStdin?: boolean;
  passwordFile?: string;
  ca?: string;
  insecure?: boolean;
  package?: string;
  wait: boolean;
  timeout: number;
  quiet?: boolean;
}

/** What the API lets one question wait. */
const POLL_MS = 20_000;
const UPLOAD_MS = 3_600_000;
const MIB = 2 ** 20;

export function addImageCommand(program: Command): void {
  const image = program.command('image').description('import images and kernels, list and remove them');
  image
    .command('import <source>')
    .description(
      'import an image from a registry (HOST/NAME:TAG), a file or an OCI layout; or a kernel (debian-kernel)',
    )
    .option('--name <name>', 'what to call it (default: as in the registry, or as the file)')
    .addOption(new Option('--format <format>', 'what a file is, if that cannot be told').choices([...FILE_FORMATS]))
    .option('--kernel <name>', "an imported kernel for it (default: Debian's newest for cloud machines)")
    .option('--digest <sha256:...>', 'refuse anything but this content')
    .option('--username <name>', 'for a registry')
    .option('--password-stdin', 'read the password for a registry from standard input')
    .option('--password-file <file>', 'read the password for a registry from a file')
    .option('--ca <file>', 'certificate authority of the registry, PEM')
    .option('--insecure', 'allow plain HTTP, and certificates nobody vouches for')
    .option('--package <name>', "Debian's package of a kernel, for debian-kernel")
    .option('--no-wait', 'do not wait until it is imported')
    .option('--timeout <duration>', 'how long to wait', durationOption, 30 * 60_000)
    .option('-q, --quiet', 'print the digest only')
    .action(async (source: string, options: ImportOptions, command: Command) => {
      const context = contextOf(command);
      const { name, source: from } = await sourceOf(context, source, options);
      const job = await context.client.post<ImageJob>('/v1/images', {
        body: {
          name,
          source: from,
          ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
          ...(options.digest === undefined ? {} : { expectedDigest: options.digest }),
        },
      });
      const over = options.wait ? await follow(context, job, options.timeout) : job;
      if (context.out.json) context.out.document(over);
      else if (over.image) context.out.line(options.quiet ? over.image.digest : lineOf(over.image));
      else if (over.state === 'running') context.out.line(over.id);
      if (over.state === 'failed')
        throw new CliError(`${name} was not imported: ${over.message}`, exitCodeOf(over.code));
    });
  image
    .command('ls')
    .alias('list')
    .description('list imported images and kernels')
    .option('-q, --quiet', 'print names only')
    .action(async (options: { quiet?: boolean }, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: Image[] }>('/v1/images');
      if (out.json) out.document({ items });
      else if (options.quiet) items.forEach(({ name }) => out.line(name));
      else out.line(listing(items));
    });
  image
    .command('inspect <name>')
    .description('everything about one image')
    .action(async (name: string, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      out.document(await client.get<Image>(`/v1/images/${encodeURIComponent(name)}`));
    });
  image
    .command('rm <name...>')
    .description('take names away from their images; their content goes with: volley image gc')
    .action(async (names: string[], _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      for (const name of names) {
        await client.delete(`/v1/images/${encodeURIComponent(name)}`);
        if (!out.json) out.line(name);
      }
      if (out.json) out.document({ removed: names });
    });
  image
    .command('gc')
    .description('delete content that no image and no microVM uses')
    .option('--dry-run', 'only say how much that is')
    .action(async (options: { dryRun?: boolean }, command: Command) => {
      const { client, out } = contextOf(command);
      const dryRun = options.dryRun === true;
      const collected = await client.post<{ blobs: number; bytes: number; kept: number }>('/v1/images/collect', {
        body: { dryRun },
        deadlineMs: 65_000,
      });
      if (out.json) return out.document(collected);
      const { blobs, bytes, kept } = collected;
      out.line(`${dryRun ? 'would delete' : 'deleted'} ${blobs} blobs of ${bytesText(bytes)}; ${kept} are in use`);
    });
}

async function sourceOf(
  context: Context,
  text: string,
  options: ImportOptions,
): Promise<{ name: string; source: ImageSource | object }> {
  if (text === 'debian-kernel') {
    const { name = options.package ?? 'debian-kernel' } = options;
    return {
      name,
      source: { type: 'debian-kernel', ...(options.package === undefined ? {} : { package: options.package }) },
    };
  }
  if (looksLocal(text)) {
    const file = await inspectLocal(text, options.format);
    const uploadId = randomBytes(12).toString('hex');
    await upload(context, uploadId, file);
    const filename = basename(text);
    return {
      name: options.name ?? nameFrom(filename),
      source: { type: 'upload', uploadId, format: file.format, filename },
    };
  }
  const password = passwordOf(options);
  return {
    name:
      options.name ??
      nameFrom(
        text
          .replace(/^docker:\/\//, '')
          .replace(/^[^/]+\//, '')
          .replace(/@.*$/, ''),
      ),
    source: {
      type: 'registry',
      reference: text.replace(/^docker:\/\//, ''),
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(password === undefined ? {} : { password }),
      ...(options.ca === undefined ? {} : { caPem: read(options.ca, 'the certificate authority') }),
      insecure: options.insecure === true,
    },
  };
}

/** A path, rather than an image in a registry. */
function looksLocal(text: string): boolean {
  return /^\.{0,2}\//.test(text) || existsSync(text);
}

/** A name that may be, of that of a file or of an image in a registry. */
export function nameFrom(text: string): string {
  const [base = '', tag] = text.replace(/\.(tar|tgz|gz|xz|zst|bz2|img|raw|deb|squashfs|erofs|ext4)\b/g, '').split(':');
  const name = base
    .toLowerCase()
    .replace(/[^a-z0-9._/-]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  if (name === '') throw new CliError(`say what to call it: --name NAME`, ExitCode.usage);
  return tag === undefined ? name : `${name}:${tag}`;
}

/** Never as an argument, which everybody on the machine can read. */
function passwordOf({ passwordStdin, passwordFile }: ImportOptions): string | undefined {
  if (passwordStdin) return readFileSync(0, 'utf8').replace(/\r?\n$/, '');
  return passwordFile === undefined ? undefined : read(passwordFile, 'the password').replace(/\r?\n$/, '');
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(`cannot read ${what}: ${(error as Error).message}`, ExitCode.usage);
  }
}

async function upload(
  { client, out }: Context,
  id: string,
  { path, layout }: { path: string; layout: boolean },
): Promise<void> {
  const size = layout ? undefined : statSync(path).size;
  const of = size === undefined ? '' : ` of ${Math.ceil(size / MIB)}`;
  const progress = progressOn(out);
  let sent = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length;
      progress.say(`uploading ${basename(path)}, ${Math.floor(sent / MIB)}${of} MiB`);
      done(null, chunk);
    },
  });
  const source = layout ? packLayout(path) : createReadStream(path, { highWaterMark: 1 << 20 });
  source.on('error', (error: Error) => meter.destroy(error));
  await client.upload(`/v1/uploads/${id}`, source.pipe(meter), {
    ...(size === undefined ? {} : { size }),
    deadlineMs: UPLOAD_MS,
  });
  progress.end();
}

async function follow({ client, out }: Context, job: ImageJob, timeoutMs: number): Promise<ImageJob> {
  const end = performance.now() + timeoutMs;
  const progress = progressOn(out);
  // Short questions while there is progress to show to somebody.
  const stepMs = progress.live ? 400 : POLL_MS;
  let now = job;
  while (now.state === 'running') {
    const left = Math.floor(end - performance.now());
    if (left <= 0) {
      throw new CliError(
        `${job.name} is not imported yet (${now.message}); it goes on as job ${job.id}`,
        ExitCode.timeout,
      );
    }
    progress.say(now.message);
    const wait = Math.min(stepMs, left);
    now = await client.get<ImageJob>(`/v1/image-jobs/${job.id}`, {
      query: { wait: `${wait}ms` },
      deadlineMs: wait + 15_000,
    });
  }
  progress.end();
  return now;
}

/** What is being done, on one line that is written over and over; only where somebody looks. */
function progressOn(out: Context['out']): { live: boolean; say(text: string): void; end(): void } {
  const live = process.stderr.isTTY === true && !out.json;
  let last = '';
  return {
    live,
    say: (text) => {
      if (!live || text === last) return;
      last = text;
      process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    end: () => {
      if (live && last !== '') process.stderr.write('\r\x1b[K');
    },
  };
}

function lineOf({ name, digest, bytes, manifest }: Image): string {
  const what = manifest.kind === 'kernel' ? `kernel ${manifest.release}` : `Linux ${manifest.kernel.release}`;
  return `${name} ${digest} ${bytesText(bytes)}, ${what}`;
}

function listing(items: readonly Image[]): string {
  const now = Date.now();
  return table<Image>(
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'KIND', value: ({ manifest }) => manifest.kind },
      { title: 'DIGEST', value: ({ digest }) => digest.slice(0, 'sha256:'.length + 12) },
      {
        title: 'KERNEL',
        value: ({ manifest }) => (manifest.kind === 'kernel' ? manifest.release : manifest.kernel.release),
      },
      { title: 'ROOT', value: ({ manifest }) => (manifest.kind === 'kernel' ? undefined : manifest.root.type) },
      { title: 'SIZE', value: ({ bytes }) => bytesText(bytes), align: 'right' },
      {
        title: 'LEAST MEMORY',
        value: ({ manifest }) => (manifest.kind === 'kernel' ? undefined : `${manifest.minMemoryMiB} MiB`),
        align: 'right',
      },
      { title: 'AGE', value: ({ createdAt }) => age(now - Date.parse(createdAt)), align: 'right' },
      { title: 'SOURCE', value: ({ source }) => (source.length > 60 ? `${source.slice(0, 57)}...` : source) },
    ],
    items,
  );
}

function exitCodeOf(code: string | undefined): number {
  switch (code) {
    case 'invalid':
    case 'unsupported':
    case 'unauthorized':
      return ExitCode.usage;
    case 'notFound':
      return ExitCode.notFound;
    case 'refused':
    case 'conflict':
      return ExitCode.refused;
    case 'timeout':
      return ExitCode.timeout;
    default:
      return ExitCode.failed;
  }
}
