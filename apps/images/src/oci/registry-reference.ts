import { ImageError } from '#images';

/** An image in a registry. */
export interface RegistryReference {
  /** Host, with a port if it has one. */
  registry: string;
  repository: string;
  tag: string | undefined;
  digest: string | undefined;
}

const REGISTRY = /^(localhost|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9-]+(?=:)|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+([._/-]+[a-z0-9]+)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Takes `registry.example:5000/team/worker:3@sha256:...` apart; without tag and digest it is `latest`.
 *
 * @throws ImageError `notUnderstood`, saying how it is to be written.
 */
export function parseRegistryReference(text: string): RegistryReference {
  const plain = text.replace(/^docker:\/\//, '');
  const wrong = (why: string): ImageError =>
    new ImageError('notUnderstood', `${JSON.stringify(text)} is no image in a registry: ${why}`);
  const [beforeDigest = '', digest, ...more] = plain.split('@');
  if (more.length > 0 || beforeDigest.includes('//') || /\s/.test(plain)) throw wrong('write HOST/NAME:TAG');
  const slash = beforeDigest.indexOf('/');
  const registry = slash < 0 ? '' : beforeDigest.slice(0, slash);
  if (!REGISTRY.test(registry)) {
    throw wrong(`it must begin with the registry's host, such as registry.example/${plain}`);
  }
  const rest = beforeDigest.slice(slash + 1);
  const colon = rest.lastIndexOf(':');
  const repository = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (!REPOSITORY.test(repository)) throw wrong(`${JSON.stringify(repository)} is no name of a repository`);
  if (tag !== undefined && !TAG.test(tag)) throw wrong(`${JSON.stringify(tag)} is no tag`);
  if (digest !== undefined && !DIGEST.test(digest)) throw wrong(`${JSON.stringify(digest)} is no sha256 digest`);
  return { registry, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest };
}

/** As skopeo takes it: with a digest the digest alone, which says more than a tag. */
export function dockerName({ registry, repository, tag, digest }: RegistryReference): string {
  return `docker://${registry}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`;
}
