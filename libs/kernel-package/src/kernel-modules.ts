import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { KernelUnavailableError } from './errors';
import type { KernelPackage } from './kernel-package';

/** A kernel module, unpacked and ready for `insmod`. */
export interface KernelModule {
  /** As its file is called, without suffix: `kvm-amd`. */
  readonly name: string;
  readonly content: Buffer;
}

/**
 * The modules named and everything they depend on, in an order in which they can be loaded. Dependencies come from the
 * modules themselves, because an unpacked package has no index (that is made when it is installed). What the kernel has
 * built in needs no module and is left out.
 *
 * Throws {@link KernelUnavailableError} when the kernel has no such module.
 */
export function kernelModules(kernel: KernelPackage, names: readonly string[]): KernelModule[] {
  const files = new Map(
    readdirSync(kernel.modules, { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.ko(\.xz|\.zst)?$/.test(path))
      .map((path) => [canonical(basename(path).replace(/\.ko.*$/, '')), join(kernel.modules, path)]),
  );
  const builtIn = builtInto(kernel);
  const ordered = new Map<string, KernelModule>();
  const add = (name: string): void => {
    if (ordered.has(canonical(name)) || builtIn.has(canonical(name))) return;
    const file = files.get(canonical(name));
    if (file === undefined) throw new KernelUnavailableError(`kernel ${kernel.release} has no module ${name}`);
    const content = unpacked(file);
    for (const dependency of dependenciesOf(content)) add(dependency);
    ordered.set(canonical(name), { name: basename(file).replace(/\.ko.*$/, ''), content });
  };
  names.forEach(add);
  return [...ordered.values()];
}

function builtInto(kernel: KernelPackage): Set<string> {
  const list = join(kernel.modules, 'modules.builtin');
  if (!existsSync(list)) return new Set();
  return new Set(
    readFileSync(list, 'utf8')
      .split('\n')
      .map((path) => canonical(basename(path).replace(/\.ko$/, ''))),
  );
}

/** File names use dashes where dependency lists use underscores. */
function canonical(name: string): string {
  return name.replaceAll('-', '_');
}

function unpacked(file: string): Buffer {
  if (file.endsWith('.xz')) return execFileSync('xz', ['-dc', file], { maxBuffer: 64 << 20, timeout: 30_000 });
  if (file.endsWith('.zst')) return execFileSync('zstd', ['-dc', file], { maxBuffer: 64 << 20, timeout: 30_000 });
  return readFileSync(file);
}

/** The section `.modinfo` is a list of NUL terminated `key=value` texts. */
function dependenciesOf(content: Buffer): string[] {
  const start = content.indexOf('\0depends=');
  if (start < 0) return [];
  const end = content.indexOf(0, start + 1);
  const list = content.toString('latin1', start + '\0depends='.length, end);
  return list.split(',').filter((name) => name !== '');
}
