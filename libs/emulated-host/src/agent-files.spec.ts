import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { agentFiles } from './agent-files';
import { EmulatedHostError } from './errors';

describe('the files of a host agent', () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'volley-agent-files-'))));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const write = (path: string, content: unknown): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
  };
  const paths = (): string[] =>
    agentFiles(root)
      .map(({ path }) => path.replace('/opt/volley/', ''))
      .sort();

  const lay = (): void => {
    const library = (name: string) => ({ default: `./dist/libs/${name}/src/index.js` });
    write('package.json', { name: 'volley', imports: { '#used': library('used'), '#idle': library('idle') } });
    write(
      'dist/apps/hostd/src/main.js',
      'require("./part"); require("#used"); require("node:fs"); require("path"); require("@scope/outer/deep.js");',
    );
    write('dist/apps/hostd/src/main.js.map', '');
    write('dist/apps/hostd/src/part.js', '');
    write('dist/apps/gateway/src/main.js', 'require("gateway-only")');
    write('dist/libs/used/src/index.js', 'import("plain")');
    write('dist/libs/idle/src/index.js', 'require("idle-only")');
    write('node_modules/@scope/outer/package.json', {
      dependencies: { inner: '1' },
      optionalDependencies: { elsewhere: '1' },
      peerDependencies: { 'not-wanted': '1', plain: '1' },
      peerDependenciesMeta: { 'not-wanted': { optional: true } },
    });
    write('node_modules/@scope/outer/deep.js', '');
    write('node_modules/@scope/outer/types.d.ts', '');
    write('node_modules/@scope/outer/node_modules/inner/package.json', {});
    write('node_modules/inner/package.json', { dependencies: { wrong: '1' } });
    write('node_modules/plain/package.json', {});
    write('node_modules/not-wanted/package.json', {});
    write('node_modules/idle-only/package.json', {});
    write('native/build/vmm/volley-vmm', '');
    write('native/build/guest/canary.bin', '');
    write('native/build/guest/cmake_install.cmake', '');
    write('native/build/guest/CMakeFiles/x', '');
  };

  it('are its build, the libraries it imports, and the packages that those really need', () => {
    lay();
    expect(paths()).toEqual([
      'dist/apps/hostd/src/main.js',
      'dist/apps/hostd/src/part.js',
      'dist/libs/used/src/index.js',
      'native/build/guest/canary.bin',
      'native/build/vmm/volley-vmm',
      'node_modules/@scope/outer/deep.js',
      'node_modules/@scope/outer/node_modules/inner/package.json',
      'node_modules/@scope/outer/package.json',
      'node_modules/plain/package.json',
      'package.json',
    ]);
  });

  it('are missed with what to do', () => {
    expect(paths).toThrow(EmulatedHostError);
    lay();
    rmSync(join(root, 'node_modules/plain'), { recursive: true });
    expect(paths).toThrow(/plain is not installed; run `npm ci`/);
    lay();
    rmSync(join(root, 'native/build/vmm'), { recursive: true });
    expect(paths).toThrow(/volley-vmm is not built; run `.\/volley build`/);
  });
});
