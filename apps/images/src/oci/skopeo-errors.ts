import { ImageError, type ImageFailure } from '#images';
import type { ProgramError } from '../programs/run-program';

const SIGNS: readonly [RegExp, ImageFailure, string][] = [
  [/no space left on device|disk quota exceeded/i, 'noSpace', 'no room on the disk; free some and try again'],
  [
    /unauthorized|authentication required|invalid username\/password|access to the resource is denied|403 \(forbidden\)|no basic auth/i,
    'registryRefused',
    'the registry refuses these credentials; give a user name and a password that may read it',
  ],
  [
    /manifest unknown|name unknown|repository name not known|404 \(not found\)|manifest for .* not found/i,
    'noSuchImage',
    'the registry has no such image; check its name and tag',
  ],
  [
    /server gave http response to https client/i,
    'registryAway',
    'the registry speaks plain HTTP; allow that (insecure) if you trust the network',
  ],
  [
    /x509|certificate|tls: /i,
    'registryAway',
    "the registry's certificate is not trusted; give its certificate authority, or allow that (insecure)",
  ],
  [
    /no image found in (manifest list|image index)/i,
    'wrongArchitecture',
    'the image is not there for linux/amd64, which is what microVMs run',
  ],
  [/more than one image in oci/i, 'notUnderstood', 'the archive holds more than one image; keep one of them in it'],
  [
    /digest|checksum|unexpected eof|gzip: invalid|archive\/tar|invalid character|invalid tar header|zlib|corrupt|no such file or directory|does not exist|not found/i,
    'corrupted',
    'the image is damaged, or not in the format that was named',
  ],
];

/** The registry could not be talked to at all; looked for first when there is a registry. */
const AWAY =
  /connection refused|connection reset|no such host|i\/o timeout|no route to host|network is unreachable|deadline exceeded|pinging container registry|50[0-9] |server misbehaving/i;

/** What a failure of skopeo means. */
export function explainSkopeo(error: ProgramError, from: 'registry' | 'archive'): ImageError {
  const said = fatalOf(error.stderr);
  const known = SIGNS.find(([sign]) => sign.test(said));
  const away = from === 'registry' && AWAY.test(said);
  if (known && !(away && known[1] === 'corrupted')) return new ImageError(known[1], `${known[2]} (${said})`);
  if (from === 'registry') {
    return new ImageError('registryAway', `the registry cannot be reached, or does not answer as one (${said})`);
  }
  return new ImageError('corrupted', `the archive cannot be read (${said})`);
}

/** `time="..." level=fatal msg="..."` -> the message. */
function fatalOf(stderr: string): string {
  const messages = [...stderr.matchAll(/level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text!);
  const last = messages.at(-1) ?? stderr.trim().split('\n').at(-1) ?? '';
  return last.replace(/\\(.)/g, '$1').replace(/\s+/g, ' ').slice(0, 400) || 'it gave no reason';
}
