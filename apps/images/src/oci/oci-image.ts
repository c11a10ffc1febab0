import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '#images';
import type { ImageSource } from '#protocol';
import type { ImportContext } from '../import/import-context';
import { unpackLayers } from '../root/unpack-layers';
import { makeSquashfs } from '../root/squashfs';
import type { ImportedRoot } from '../root/imported-root';
import { chooseLinuxAmd64, readRawManifest, readRunConfig } from './oci-documents';
import { dockerName, parseRegistryReference } from './registry-reference';
import { copyToLayout, inspectConfig, inspectRaw, LAYOUT, registryAccess, type SkopeoSource } from './skopeo';

type RegistrySource = Extract<ImageSource, { type: 'registry' }>;

/** Fetches an image from a registry and makes a root file system of it. @throws ImageError */
export async function importFromRegistry(
  context: ImportContext,
  source: RegistrySource,
  expectedDigest: string | undefined,
): Promise<ImportedRoot> {
  const reference = parseRegistryReference(source.reference);
  const { registry, repository, tag } = reference;
  const access = await registryAccess(context, { ...source, registry });
  context.say(`asking ${registry}`);
  const found = await inspectRaw(context, { name: dockerName(reference), access });
  const manifest = readRawManifest(found.text);
  const digest = manifest.kind === 'index' ? chooseLinuxAmd64(manifest.platforms) : found.digest;
  requireDigest(expectedDigest, [found.digest, digest], source.reference);
  // By digest from here on: a tag that moves meanwhile changes nothing.
  const pinned: SkopeoSource = { name: dockerName({ ...reference, tag: undefined, digest }), access };
  const known = manifest.kind === 'manifest' ? ` of ${manifest.layers}` : '';
  context.say(`fetching ${repository}`);
  await copyToLayout(context, pinned, (count) => context.say(`fetching ${repository}, layer ${count}${known}`));
  const name = `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}@${digest}`;
  return { ...(await rootOfLayout(context)), source: name };
}

/** Makes a root file system of an archive of an image. @throws ImageError */
export async function importFromArchive(
  context: ImportContext,
  format: 'oci-archive' | 'docker-archive',
  file: { name: string; digest: string; title: string },
  expectedDigest: string | undefined,
): Promise<ImportedRoot> {
  const source: SkopeoSource = { name: `${format}:${file.name}`, access: [] };
  context.say('reading the archive');
  if (expectedDigest !== undefined && expectedDigest !== file.digest) {
    const inArchive = format === 'oci-archive' ? [(await inspectRaw(context, source)).digest] : [];
    requireDigest(expectedDigest, [...inArchive, file.digest], file.title);
  }
  await copyToLayout(context, source, (count) => context.say(`reading the archive, layer ${count}`));
  return { ...(await rootOfLayout(context)), source: file.title };
}

/** @throws ImageError `wrongDigest` */
export function requireDigest(expected: string | undefined, found: readonly string[], what: string): void {
  if (expected === undefined || found.includes(expected)) return;
  throw new ImageError(
    'wrongDigest',
    `${what} has the digest ${[...new Set(found)].join(' (and ')}${new Set(found).size > 1 ? ')' : ''}, not ${expected}: ` +
      'it is not what was asked for',
  );
}

async function rootOfLayout(context: ImportContext): Promise<Pick<ImportedRoot, 'type' | 'path' | 'run'>> {
  const run = readRunConfig(await inspectConfig(context));
  context.say('unpacking its layers');
  const tree = await unpackLayers(context);
  await rm(join(context.folder, LAYOUT), { recursive: true, force: true });
  context.say('making the root file system');
  const path = await makeSquashfs(context, tree);
  await rm(tree, { recursive: true, force: true });
  return { type: 'squashfs', path, run };
}
