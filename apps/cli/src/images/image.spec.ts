import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxImage, missingProgram, OCI_PROGRAMS } from '../../../../test/support/oci-image';
import { ExitCode } from '../exit-code';
import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';
import { nameFrom } from './image.command';
import { inspectLocal } from './local-file';
import { packLayout } from './pack-layout';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'volley-image-cli-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const file = (name: string, ...parts: [offset: number, text: string | Buffer][]): string => {
  const content = Buffer.alloc(4_096);
  for (const [offset, text] of parts) content.set(Buffer.from(text as string, 'latin1'), offset);
  writeFileSync(at(name), content);
  return at(name);
};

describe('a file', () => {
  it.each<[string, () => string, string]>([
    ['an ELF file', () => file('vmlinux', [0, '\x7fELF']), 'kernel'],
    ['a bzImage', () => file('vmlinuz', [0x202, 'HdrS'], [510, '\x55\xaa']), 'kernel'],
    ['a Debian package', () => file('kernel.deb', [0, '!<arch>\n']), 'kernel'],
    ['a squashfs', () => file('x.squashfs', [0, 'hsqs']), 'disk'],
    ['an ext4 file system', () => file('x.ext4', [1024 + 0x38, '\x53\xef']), 'disk'],
    ['a disk with partitions', () => file('x.img', [510, '\x55\xaa']), 'disk'],
  ])('is told by its beginning: %s', async (_, make, format) => {
    expect(await inspectLocal(make())).toMatchObject({ format, layout: false });
  });

  it.each(['', '.gz', '.xz', '.zst'])('is told by what is in the archive%s', async (suffix) => {
    for (const [name, format] of [
      ['oci-layout', 'oci-archive'],
      ['manifest.json', 'docker-archive'],
      ['etc', 'rootfs'],
    ] as const) {
      mkdirSync(at(`in-${format}`), { recursive: true });
      writeFileSync(at(`in-${format}/${name}`), 'x');
      writeFileSync(at(`in-${format}/other`), 'y');
      execFileSync('tar', ['-caf', at(`${format}.tar${suffix}`), '-C', at(`in-${format}`), '.'], { stdio: 'pipe' });
      expect(await inspectLocal(at(`${format}.tar${suffix}`))).toMatchObject({ format });
    }
  });

  it('that cannot be told, is missing or a folder of files is refused, with what to do', async () => {
    writeFileSync(at('text'), 'hello');
    await expect(inspectLocal(at('text'))).rejects.toMatchObject({
      exitCode: ExitCode.usage,
      message: expect.stringContaining('--format'),
    });
    await expect(inspectLocal(at('nowhere'))).rejects.toThrow('is not there');
    await expect(inspectLocal(folder)).rejects.toThrow(/tar -C/);
    expect(await inspectLocal(at('text'), 'disk')).toMatchObject({ format: 'disk' });
  });
});

it.each([
  ['Alpine Rootfs.tar.gz', 'alpine-rootfs'],
  ['team/worker:3', 'team/worker:3'],
  ['linux-image-6.1.deb', 'linux-image-6.1'],
])('%s is called %s', (text, name) => expect(nameFrom(text)).toBe(name));

const missing = missingProgram(OCI_PROGRAMS);
if (missing) process.stderr.write(`SKIPPED: packing an OCI layout: ${missing}\n`);
(missing ? it.skip : it)('an OCI layout is packed as others would', async () => {
  busyboxImage(at('layout'));
  expect(await inspectLocal(at('layout'))).toMatchObject({ format: 'oci-archive', layout: true });
  const parts: Buffer[] = [];
  for await (const part of packLayout(at('layout'))) parts.push(part as Buffer);
  writeFileSync(at('layout.tar'), Buffer.concat(parts));
  const { status, stderr } = spawnSync('skopeo', ['inspect', '--raw', `oci-archive:${at('layout.tar')}`], {
    timeout: 30_000,
  });
  expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: '' });
});

describe('volley image', () => {
  let api: ScriptedApi;
  let printed: string;
  let jobs: object[];
  const digest = `sha256:${'a'.repeat(64)}`;
  const blob = { digest, bytes: 3 << 20 };
  const image = {
    name: 'box:1',
    digest,
    manifest: {
      schema: 1,
      kind: 'kernel',
      architecture: 'amd64',
      release: '6.1.0',
      vmlinux: blob,
      initrd: blob,
      modules: [],
    },
    bytes: 6 << 20,
    source: 'a test',
    createdAt: new Date().toISOString(),
  };
  const done = { id: 'j1', name: 'box:1', state: 'done', message: 'imported in 1.0 s', image };
  const volley = (...args: string[]) => runVolley('--url', api.url, '--data', at('none'), 'image', ...args);

  beforeEach(async () => {
    printed = '';
    jobs = [done];
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
    api = await scriptedApi(({ method, path }, response) => {
      if (path.startsWith('/v1/uploads/')) return json(response, 200, { id: 'x', digest, bytes: 1 });
      if (method === 'POST' && path === '/v1/images') {
        return json(response, 202, { id: 'j1', name: 'box:1', state: 'running', message: 'begins' });
      }
      if (path === '/v1/image-jobs/j1') return json(response, 200, jobs.shift());
      if (path === '/v1/images/collect') return json(response, 200, { blobs: 2, bytes: 5 << 20, kept: 7 });
      if (method === 'GET' && path === '/v1/images') return json(response, 200, { items: [image] });
      return json(response, 200, method === 'DELETE' ? { removed: true } : image);
    });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await api.close();
  });

  it('uploads a file, waits for its import and says what came of it', async () => {
    const path = file('disk.img', [510, '\x55\xaa']);
    jobs.unshift({ ...done, state: 'running', image: undefined });
    await volley('import', path, '--name', 'box:1', '--kernel', 'k', '--digest', digest);
    const [upload, post, ...asked] = api.seen;
    expect(upload).toMatchObject({ method: 'PUT', body: expect.any(Buffer) });
    expect((upload!.body as Buffer).length).toBe(4_096);
    expect(upload!.headers['content-length']).toBe('4096');
    expect(post!.body).toEqual({
      name: 'box:1',
      kernel: 'k',
      expectedDigest: digest,
      source: { type: 'upload', format: 'disk', filename: 'disk.img', uploadId: upload!.path.split('/').at(-1) },
    });
    expect(asked).toHaveLength(2);
    expect(printed).toBe(`box:1 ${digest} 6.0 MiB, kernel 6.1.0\n`);
  });

  it('asks a registry with a password that is in no argument', async () => {
    writeFileSync(at('password'), 'secret word\n');
    writeFileSync(at('ca.pem'), 'PEM');
    await volley(
      'import',
      'registry.example:5000/team/box:1',
      '--username',
      'me',
      '--password-file',
      at('password'),
      '--ca',
      at('ca.pem'),
      '-q',
    );
    expect(api.seen[0]!.body).toEqual({
      name: 'team/box:1',
      source: {
        type: 'registry',
        reference: 'registry.example:5000/team/box:1',
        username: 'me',
        password: 'secret word',
        caPem: 'PEM',
        insecure: false,
      },
    });
    expect(printed).toBe(`${digest}\n`);
  });

  it('fails as the import does, with its reason', async () => {
    jobs = [
      { ...done, state: 'failed', image: undefined, message: 'the registry has no such image', code: 'notFound' },
    ];
    await expect(volley('import', 'registry.example/none')).rejects.toMatchObject({
      exitCode: ExitCode.notFound,
      message: expect.stringContaining('no such image'),
    });
  });

  it('gives up waiting after the time it was given', async () => {
    await expect(volley('import', 'debian-kernel', '--timeout', '0s')).rejects.toMatchObject({
      exitCode: ExitCode.timeout,
    });
    expect(api.seen[0]!.body).toEqual({ name: 'debian-kernel', source: { type: 'debian-kernel' } });
    await volley('import', 'debian-kernel', '--no-wait');
    expect(printed).toBe('j1\n');
  });

  it('lists, shows, removes and collects', async () => {
    await volley('ls');
    expect(printed).toMatch(/^NAME +KIND +DIGEST .*\nbox:1 +kernel +sha256:a{12} +6\.1\.0 +- +6\.0 MiB/);
    await volley('inspect', 'team/box:1');
    await volley('rm', 'team/box:1', 'b');
    await volley('gc', '--dry-run');
    expect(printed).toContain('would delete 2 blobs of 5.0 MiB; 7 are in use');
    expect(api.seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /v1/images',
      'GET /v1/images/team%2Fbox%3A1',
      'DELETE /v1/images/team%2Fbox%3A1',
      'DELETE /v1/images/b',
      'POST /v1/images/collect',
    ]);
  });
});
