import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, ImageError } from '#images';
import { ProgramError, type ProgramRun } from '../programs/run-program';
import { run, type ImportContext } from '../import/import-context';
import { explainSkopeo } from './skopeo-errors';
import { whileGrowing } from './while-growing';

/** Where an image is taken from, and with which rights. */
export interface SkopeoSource {
  /** As skopeo names it: `docker://...`, `oci-archive:FILE`, `docker-archive:FILE`. */
  name: string;
  /** Options of skopeo for where it comes from, without the `src-` in front of them. */
  access: readonly string[];
}

export interface RegistryAccess {
  registry: string;
  username?: string | undefined;
  password?: string | undefined;
  caPem?: string | undefined;
  insecure: boolean;
}

/** For what is asked of a file. */
const LOOK_UP_MS = 60_000;
const COPY_MS = 60 * 60_000;
/** Folder of the OCI layout in an import's folder, and the name of the image in it. */
export const LAYOUT = 'layout';
export const LAYOUT_IMAGE = 'image';

/**
 * Writes what skopeo needs to be let in: credentials go into a file that only this user can read, never into arguments, which
 * everybody can.
 */
export async function registryAccess(context: ImportContext, access: RegistryAccess): Promise<string[]> {
  const { registry, username, password, caPem, insecure } = access;
  const auths =
    username === undefined && password === undefined
      ? {}
      : { [registry]: { auth: Buffer.from(`${username ?? ''}:${password ?? ''}`).toString('base64') } };
  // Written without credentials too: else those of this machine's user would be taken.
  await writeFile(join(context.folder, 'auth.json'), JSON.stringify({ auths }), { mode: 0o600 });
  const options = ['--authfile=auth.json', `--tls-verify=${!insecure}`];
  if (caPem !== undefined) {
    await mkdir(join(context.folder, 'certs'), { mode: 0o700 });
    await writeFile(join(context.folder, 'certs', 'ca.crt'), caPem);
    options.push('--cert-dir=certs');
  }
  return options;
}

/** The manifest or index that the source names, and its digest. @throws ImageError */
export async function inspectRaw(
  context: ImportContext,
  source: SkopeoSource,
): Promise<{ text: string; digest: string }> {
  const args = ['inspect', '--raw', ...source.access, source.name];
  if (!isRegistry(source)) {
    const text = await skopeo(context, source, args, LOOK_UP_MS);
    return { text, digest: digestOf(text) };
  }
  const { registryMs } = context;
  try {
    const text = await skopeo(context, source, args, registryMs);
    return { text, digest: digestOf(text) };
  } catch (error) {
    if (!(error instanceof ImageError) || error.failure !== 'timeout') throw error;
    throw new ImageError(
      'registryAway',
      `the registry did not answer within ${registryMs / 1000} s; check that it works, and the way to it (VOLLEY_REGISTRY_SILENCE_S)`,
    );
  }
}

/** Copies an image, verified blob by blob, into the OCI layout {@link LAYOUT} of the import's folder. @throws ImageError */
export async function copyToLayout(
  context: ImportContext,
  source: SkopeoSource,
  onLayer: (count: number) => void = () => undefined,
): Promise<void> {
  let layers = 0;
  const access = source.access.map((option) => option.replace(/^--/, '--src-'));
  const args = ['copy', ...access, source.name, `oci:${LAYOUT}:${LAYOUT_IMAGE}`];
  const copy = (signal: AbortSignal): Promise<string> =>
    skopeo({ ...context, signal }, source, args, COPY_MS, (line) => {
      if (line.startsWith('Copying blob')) onLayer(++layers);
    });
  if (!isRegistry(source)) return void (await copy(context.signal));
  await whileGrowing(join(context.folder, LAYOUT), context.registryMs, context.signal, copy);
}

/** The configuration document of the image in the layout. @throws ImageError */
export function inspectConfig(context: ImportContext): Promise<string> {
  const source = { name: `oci:${LAYOUT}:${LAYOUT_IMAGE}`, access: [] };
  return skopeo(context, source, ['inspect', '--config', '--raw', source.name], LOOK_UP_MS);
}

function isRegistry({ name }: SkopeoSource): boolean {
  return name.startsWith('docker://');
}

/** Every image is taken and checked by its digest; there is no signature to ask this machine's policy about. */
const POLICY = JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] });

async function skopeo(
  context: ImportContext,
  source: SkopeoSource,
  args: readonly string[],
  deadlineMs: number,
  onLine?: ProgramRun['onLine'],
): Promise<string> {
  await writeFile(join(context.folder, 'policy.json'), POLICY);
  // Absolute: it cannot unpack an archive without entries for folders into any other.
  const general = [
    '--policy=policy.json',
    `--tmpdir=${context.folder}`,
    '--override-os=linux',
    '--override-arch=amd64',
  ];
  try {
    return await run(context, {
      program: 'skopeo',
      package: 'skopeo',
      args: [...general, ...args],
      deadlineMs,
      ...(onLine ? { onLine } : {}),
    });
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    throw explainSkopeo(error, isRegistry(source) ? 'registry' : 'archive');
  }
}
