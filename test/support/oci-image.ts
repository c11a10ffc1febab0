import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where a program is; undefined when it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(existsSync);
}

/** The first of these programs that is missing, with its Debian package; undefined: all are there. */
export function missingProgram(programs: Record<string, string>): string | undefined {
  const missing = Object.keys(programs).find((name) => !findProgram(name));
  return missing && `${missing} is not installed (Debian package ${programs[missing]})`;
}

export const OCI_PROGRAMS = {
  skopeo: 'skopeo',
  umoci: 'umoci',
  mksquashfs: 'squashfs-tools',
  busybox: 'busybox-static',
};

export interface BusyboxImageOptions {
  /** Default: amd64. */
  architecture?: string;
  entrypoint?: string[];
  command?: string[];
  env?: Record<string, string>;
  user?: string;
  workdir?: string;
  /** More files, by absolute path. */
  files?: Record<string, string>;
}

/**
 * Makes an OCI layout with one image of two layers in it, `image`, of busybox: all its commands in /bin, a file of another owner, one
 * that the second layer has removed.
 */
export function busyboxImage(layout: string, options: BusyboxImageOptions = {}): void {
  const work = mkdtempSync(`${layout}.`);
  const umoci = (...args: string[]): void =>
    void execFileSync('umoci', args, { cwd: work, stdio: 'pipe', timeout: 60_000 });
  const image = ['--image', `${layout}:image`];
  try {
    umoci('init', '--layout', layout);
    umoci('new', ...image);
    umoci('unpack', ...image, 'first');
    const root = join(work, 'first', 'rootfs');
    for (const folder of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'home/app'])
      mkdirSync(join(root, folder), { recursive: true });
    const busybox = findProgram('busybox')!;
    copyFileSync(busybox, join(root, 'bin/busybox'));
    chmodSync(join(root, 'bin/busybox'), 0o755);
    const commands = execFileSync(busybox, ['--list'], { encoding: 'utf8', timeout: 60_000 }).trim().split('\n');
    for (const name of commands) if (name !== 'busybox') symlinkSync('busybox', join(root, 'bin', name));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1000:\n');
    writeFileSync(join(root, 'etc/removed'), 'by the second layer\n');
    execFileSync('chown', ['-R', '1000:1000', join(root, 'home/app')], { timeout: 60_000 });
    umoci('repack', ...image, 'first');
    umoci('unpack', ...image, 'second');
    const second = join(work, 'second', 'rootfs');
    rmSync(join(second, 'etc/removed'));
    for (const [path, content] of Object.entries({ '/etc/greeting': 'hello\n', ...options.files })) {
      mkdirSync(join(second, path, '..'), { recursive: true });
      writeFileSync(join(second, path), content);
    }
    umoci('repack', ...image, 'second');
    const { entrypoint = [], command = ['/bin/sh'], env = {}, user, workdir, architecture } = options;
    umoci(
      'config',
      ...image,
      ...[
        ...entrypoint.map((word) => `--config.entrypoint=${word}`),
        ...command.map((word) => `--config.cmd=${word}`),
        ...Object.entries(env).map(([name, value]) => `--config.env=${name}=${value}`),
        ...(user === undefined ? [] : [`--config.user=${user}`]),
        ...(workdir === undefined ? [] : [`--config.workingdir=${workdir}`]),
        ...(architecture === undefined ? [] : [`--architecture=${architecture}`]),
      ],
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
