import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '#ports';

export const REGISTRY_PROGRAMS = { 'docker-registry': 'docker-registry', openssl: 'openssl', perl: 'perl' };

/** Debian's docker-registry on the loopback: TLS by an authority of its own, one user. */
export interface ImageRegistry {
  /** Host and port. */
  readonly name: string;
  readonly caPem: string;
  readonly username: string;
  readonly password: string;
  /** Copies an image, such as `oci:FOLDER:image`, into it. */
  push(source: string, repository: string): void;
  /** Ends it; nobody answers at its port from then on. */
  stop(): Promise<void>;
}

const USER = 'reader';

export async function startImageRegistry(): Promise<ImageRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'volley-registry-'));
  const password = 'correct horse battery staple';
  const port = await freePort('127.0.0.1');
  const name = `127.0.0.1:${port}`;
  makeCertificates(folder);
  const hash = execFileSync('perl', ['-e', 'print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))', password], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  writeFileSync(join(folder, 'htpasswd'), `${USER}:${hash}\n`);
  writeFileSync(
    join(folder, 'config.yml'),
    `version: 0.1
log: { level: error }
storage:
  filesystem: { rootdirectory: ${JSON.stringify(join(folder, 'data'))} }
http:
  addr: ${JSON.stringify(name)}
  tls:
    certificate: ${JSON.stringify(join(folder, 'server.crt'))}
    key: ${JSON.stringify(join(folder, 'server.key'))}
auth:
  htpasswd: { realm: test, path: ${JSON.stringify(join(folder, 'htpasswd'))} }
`,
  );
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (log += text.toString()));
  const kill = (): void => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', kill);
  await answering(port, child, () => log);
  return {
    name,
    caPem: readFileSync(join(folder, 'ca.crt'), 'utf8'),
    username: USER,
    password,
    push(source, repository) {
      const args = [
        'copy',
        '--quiet',
        '--insecure-policy',
        '--dest-tls-verify=false',
        `--dest-creds=${USER}:${password}`,
      ];
      execFileSync('skopeo', [...args, '--all', source, `docker://${name}/${repository}`], {
        stdio: 'pipe',
        timeout: 60_000,
      });
    },
    async stop() {
      process.removeListener('exit', kill);
      const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function makeCertificates(folder: string): void {
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe', timeout: 60_000 });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=test authority');
  openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=127.0.0.1');
  writeFileSync(join(folder, 'san.txt'), 'subjectAltName=IP:127.0.0.1\n');
  const authority = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
  openssl('x509', '-req', '-in', 'server.csr', ...authority, '-out', 'server.crt', '-days', '2', '-extfile', 'san.txt');
}

/** The registry does not say when it listens. */
async function answering(port: number, child: ChildProcess, log: () => string): Promise<void> {
  for (let attempt = 0; attempt < 1_500; attempt++) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended: ${log()}`);
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 40));
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`docker-registry does not answer after 60 s: ${log()}`);
}
