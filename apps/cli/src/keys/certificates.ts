import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { CliError } from '../errors';

/** Files of a server's certificate. */
export interface Certificate {
  certFile: string;
  keyFile: string;
  /** The authority that it is of, and that those of the others are of. */
  caFile: string;
}

const CA_DAYS = 3_650;
const SERVER_DAYS = 397;
const OPENSSL_MS = 20_000;
const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Our own authority for the certificates of nats-servers and gateways, in a folder. Certificates are made by the openssl program. */
export class CertificateAuthority {
  readonly caFile: string;
  readonly #keyFile: string;

  private constructor(private readonly folder: string) {
    this.caFile = join(folder, 'ca.pem');
    this.#keyFile = join(folder, 'ca.key');
  }

  /** Makes the authority when it is not there. @throws CliError when openssl fails or is missing. */
  static open(folder: string): CertificateAuthority {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const authority = new CertificateAuthority(folder);
    if (!existsSync(authority.caFile)) authority.#make();
    return authority;
  }

  /**
   * Makes a certificate for a server that is reached by these names and addresses, anew each time.
   *
   * @throws CliError when a name is none, or openssl fails.
   */
  issue(name: string, hosts: readonly string[]): Certificate {
    if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(name))
      throw new CliError(`${JSON.stringify(name)} cannot name a server`);
    const [certFile, keyFile] = [join(this.folder, `${name}.pem`), join(this.folder, `${name}.key`)];
    const [request, extensions] = [join(this.folder, `${name}.csr`), join(this.folder, `${name}.ext`)];
    writeFileSync(
      extensions,
      `subjectAltName=${hosts.map(alternativeName).join(',')}\nextendedKeyUsage=serverAuth,clientAuth\n`,
    );
    try {
      openssl(['req', ...EC_KEY, '-keyout', keyFile, '-out', request, '-subj', `/CN=${name}`]);
      openssl([
        ...['x509', '-req', '-in', request, '-CA', this.caFile, '-CAkey', this.#keyFile, '-days', String(SERVER_DAYS)],
        ...['-out', certFile, '-extfile', extensions],
      ]);
    } finally {
      for (const file of [request, extensions]) rmSync(file, { force: true });
    }
    return { certFile, keyFile, caFile: this.caFile };
  }

  #make(): void {
    openssl([
      ...['req', '-x509', ...EC_KEY, '-keyout', this.#keyFile, '-out', this.caFile, '-days', String(CA_DAYS)],
      ...['-subj', '/CN=Volley', '-addext', 'basicConstraints=critical,CA:TRUE,pathlen:0'],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ]);
  }
}

function alternativeName(host: string): string {
  if (isIP(host)) return `IP:${host}`;
  if (/^[A-Za-z0-9.*-]+$/.test(host)) return `DNS:${host}`;
  throw new CliError(`${JSON.stringify(host)} is neither a name nor an address`);
}

/** openssl gives keys that it makes the mode 0600 by itself. */
function openssl(args: readonly string[]): void {
  try {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: OPENSSL_MS });
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: Buffer };
    if (code === 'ENOENT') throw new CliError('TLS needs the openssl program; install the package openssl');
    throw new CliError(`openssl ${args[0]} failed: ${stderr?.toString().trim() ?? String(error)}`);
  }
}
