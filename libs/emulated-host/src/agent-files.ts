import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import type { ArchiveEntry } from '#cpio';
import { EmulatedHostError } from './errors';

/** Where Volley lies in an emulated host. */
export const INSTALLED_AT = '/opt/volley';

const AGENT = 'dist/apps/hostd';
/** Nothing of these is ever loaded. */
const IDLE = /\.(?:map|d\.[cm]?ts|[cm]?ts|md|markdown|flow)$/;
const NATIVE = ['vmm/volley-vmm', 'vmm/volley-run', 'binding/volley.node'];

interface Package {
  name?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
  imports?: Record<string, { default: string }>;
}

/**
 * What a host agent is made of: its own build, the libraries and npm packages that those files really import with
 * everything they depend on, and the native build. Source maps, types and everything else that is never loaded stays.
 *
 * @param root the checkout, or wherever `dist`, `node_modules` and `native/build` lie
 *
 * Throws {@link EmulatedHostError} when it is not built.
 */
export function agentFiles(root: string): ArchiveEntry[] {
  if (!existsSync(join(root, AGENT, 'src/main.js'))) throw notBuilt(join(root, AGENT));
  const manifest = packageAt(root)!;
  const entries: ArchiveEntry[] = [{ path: `${INSTALLED_AT}/package.json`, from: join(root, 'package.json') }];
  const scripts: string[] = [];
  const packages = new Set<string>();
  const seen = new Set<string>();
  const folders = [AGENT];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    if (seen.has(folder)) continue;
    seen.add(folder);
    for (const file of filesIn(join(root, folder))) {
      scripts.push(file);
      for (const name of importedBy(file)) {
        const library = manifest.imports?.[name]?.default;
        if (library !== undefined) folders.push(join(library, '../..'));
        else if (!name.startsWith('#')) packages.add(name);
      }
    }
  }
  entries.push(...scripts.map((from) => ({ path: join(INSTALLED_AT, relative(root, from)), from })));
  entries.push(...packageFiles(root, packages), ...nativeFiles(root));
  return entries;
}

/** Folders of packages with all that they depend on, each where Node will look for it. */
function packageFiles(root: string, names: ReadonlySet<string>): ArchiveEntry[] {
  const modules = realpathSync(join(root, 'node_modules'));
  const home = dirname(modules);
  const found = new Set<string>();
  const add = (name: string, from: string, needed: boolean): void => {
    const folder = resolvePackage(name, from, home);
    if (folder === undefined) {
      if (needed) throw new EmulatedHostError(`the npm package ${name} is not installed; run \`npm ci\``);
      return;
    }
    if (found.has(folder)) return;
    found.add(folder);
    const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = packageAt(folder)!;
    for (const one of Object.keys(dependencies ?? {})) add(one, folder, optionalDependencies?.[one] === undefined);
    for (const one of Object.keys(optionalDependencies ?? {})) add(one, folder, false);
    for (const one of Object.keys(peerDependencies ?? {})) {
      if (peerDependenciesMeta?.[one]?.optional !== true) add(one, folder, false);
    }
  };
  for (const name of names) add(name, home, true);
  return [...found].flatMap((folder) =>
    filesIn(folder).map((from) => ({ path: join(INSTALLED_AT, 'node_modules', relative(modules, from)), from })),
  );
}

/** As Node does: in the `node_modules` of the package itself, then of each folder above it. */
function resolvePackage(name: string, from: string, home: string): string | undefined {
  for (let at = from; ; at = dirname(at)) {
    const folder = join(at, 'node_modules', name);
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (at === home || at === '/') return undefined;
  }
}

function nativeFiles(root: string): ArchiveEntry[] {
  const build = join(root, 'native/build');
  const files = NATIVE.map((file) => join(build, file)).filter(existsSync);
  if (!files.some((file) => file.endsWith('volley-vmm'))) throw notBuilt(join(build, 'vmm/volley-vmm'));
  const guests = join(build, 'guest');
  const made = existsSync(guests)
    ? readdirSync(guests, { withFileTypes: true })
        .filter((entry) => entry.isFile() && !/\.(?:cmake|ninja)$/.test(entry.name))
        .map(({ name }) => join(guests, name))
    : [];
  return [...files, ...made].map((from) => ({
    path: join(INSTALLED_AT, relative(root, from)),
    mode: statSync(from).mode & 0o755,
    from,
  }));
}

/** Names of libraries (`#protocol`) and packages (`nats`, `@nestjs/core`); not of files, not of what Node brings. */
function importedBy(file: string): string[] {
  if (!/\.[cm]?js$/.test(file)) return [];
  const names = [...readFileSync(file, 'utf8').matchAll(/\b(?:require|import)\(["']([^."'][^"']*)["']\)/g)];
  return names
    .map(([, name]) => name!)
    .filter((name) => !name.startsWith('node:') && !builtinModules.includes(name))
    .map((name) => (name.startsWith('#') ? name : name.split('/', name.startsWith('@') ? 2 : 1).join('/')));
}

/** All files below a folder, `node_modules` and what is never loaded left out. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesIn(path);
      return entry.isFile() && !IDLE.test(entry.name) ? [path] : [];
    });
}

function packageAt(folder: string): Package | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Package;
  } catch {
    return undefined;
  }
}

function notBuilt(what: string): EmulatedHostError {
  return new EmulatedHostError(`${what} is not built; run \`./volley build\``);
}
