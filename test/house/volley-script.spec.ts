import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const TOOLS = 'bash env uname readlink dirname mkdir flock sha256sum find grep mv sed rm cat touch chmod'.split(' ');
const ROOT = process.getuid?.() === 0;

/** A checkout that holds nothing but the script, on a machine that has nothing but the named programs. */
class Machine {
  readonly checkout = mkdtempSync(join(tmpdir(), 'volley-script-'));
  readonly bin = join(this.checkout, 'fake-bin');

  constructor() {
    chmodSync(this.checkout, 0o777);
    mkdirSync(this.bin);
    copyFileSync(join(__dirname, '../../volley'), join(this.checkout, 'volley'));
    writeFileSync(join(this.checkout, 'package-lock.json'), '{}');
    for (const folder of ['apps/cli/src', 'libs', 'native'])
      mkdirSync(join(this.checkout, folder), { recursive: true });
    for (const tool of TOOLS) {
      const real = ['/usr/bin', '/bin'].map((folder) => join(folder, tool)).find(existsSync);
      symlinkSync(real!, join(this.bin, tool));
    }
    this.has('node', 'if [[ $1 == --version ]]; then echo v20.19.2; else echo "RUN $*"; fi');
    this.has(
      'npm',
      `echo "npm $*" >>${this.calls}; [[ $1 == ci ]] && mkdir -p node_modules; [[ $3 == build:ts ]] && mkdir -p dist/apps/cli/src dist/libs && touch dist/apps/cli/src/main.js; true`,
    );
    this.has('cmake', `echo "cmake" >>${this.calls}; mkdir -p native/build; touch native/build/build.ninja`);
    this.has('nats-server');
  }

  get calls(): string {
    return join(this.checkout, 'calls');
  }
  has(name: string, script = 'true'): void {
    writeFileSync(join(this.bin, name), `#!/bin/bash\ncd ${this.checkout}\n${script}\n`, { mode: 0o755 });
  }
  /** A machine whose apt-get can install what is asked for. */
  hasPackages(): void {
    this.has('ninja', 'echo "ninja: no work to do."');
    this.has('g++');
  }
  run(args: string[], asNobody = false): { status: number | null; stdout: string; stderr: string } {
    const command = ['/bin/bash', join(this.checkout, 'volley'), ...args];
    if (asNobody && ROOT)
      command.unshift('/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all');
    return spawnSync(command[0]!, command.slice(1), {
      env: { PATH: this.bin, CI: 'true' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    });
  }
  log(): string {
    return existsSync(this.calls) ? readFileSync(this.calls, 'utf8') : '';
  }
  remove(): void {
    rmSync(this.checkout, { recursive: true, force: true });
  }
}

let machine: Machine;
beforeEach(() => (machine = new Machine()));
afterEach(() => machine.remove());

const FAKE_APT = (calls: string, bin: string): string => `echo "apt-get $*" >>${calls}
[[ $* == *" install "* ]] || exit 0
[[ -e lists ]] || { touch lists; exit 100; }
tools='ninja g++'; [[ $* == *skopeo* ]] && tools='nft ip mkfs.ext4 skopeo umoci mksquashfs zstd xz'
for tool in $tools; do printf '#!/bin/bash\\necho "ninja: no work to do."\\n' >${bin}/$tool; chmod +x ${bin}/$tool; done`;

(ROOT ? it : it.skip)('as root: installs what is missing, fetching package lists only when needed, and builds', () => {
  machine.has('apt-get', FAKE_APT(machine.calls, machine.bin));
  const { status, stdout, stderr } = machine.run(['up', '--detach']);
  expect(stderr).toMatch(/installing Debian packages: .*g\+\+.*ninja-build/);
  expect([status, stdout.trim()]).toEqual([0, `RUN ${machine.checkout}/dist/apps/cli/src/main.js up --detach`]);
  const calls = machine
    .log()
    .trim()
    .split('\n')
    .map((line) => line.replace(/-o \S+ /g, ''));
  expect(calls).toEqual([
    expect.stringMatching(/^apt-get -q install --no-install-recommends -y g\+\+ ninja-build/),
    'apt-get -q update',
    expect.stringMatching(/^apt-get -q install .* g\+\+ ninja-build/),
    expect.stringMatching(/^apt-get -q install .* skopeo umoci /),
    'npm ci --no-audit --no-fund --loglevel=error',
    'cmake',
    'npm run --silent build:ts',
  ]);
});

it('as anybody else: prints the exact command and exits with 2', () => {
  machine.has('apt-get', `echo "apt-get $*" >>${machine.calls}`);
  const { status, stderr } = machine.run(['up'], true);
  expect(stderr).toMatch(/sudo apt-get update && sudo apt-get install --no-install-recommends -y g\+\+ ninja-build/);
  expect(status).toBe(2);
  expect(machine.log()).toBe('');
});

it('on another distribution: names what is missing', () => {
  const { status, stderr } = machine.run(['build']);
  expect(stderr).toContain('install what your distribution calls them): g++ ninja-build');
  expect(status).toBe(2);
});

it.each([
  ['echo v18.19.0', 'Node.js is v18.19.0; Volley needs 20.19'],
  ['echo v21.7.3', 'Node.js is v21.7.3'],
])('refuses a Node.js that will not do (%s)', (script, message) => {
  machine.has('node', script);
  const { status, stderr } = machine.run(['up']);
  expect(stderr).toContain(message);
  expect(status).toBe(2);
});

describe('once everything is there', () => {
  beforeEach(() => {
    machine.hasPackages();
    expect(machine.run(['build']).status).toBe(0);
    rmSync(machine.calls);
  });

  it('does nothing twice, and says what microVMs do without', () => {
    const { status, stderr } = machine.run(['up']);
    expect(status).toBe(0);
    expect(stderr).toMatch(/these Debian packages are missing: .*skopeo umoci.*; microVMs will do without them/);
    expect(machine.log()).toBe('');
  });

  it('builds again when a source has changed, or was removed', () => {
    const source = join(machine.checkout, 'libs', 'new.ts');
    writeFileSync(source, '');
    machine.run(['up']);
    rmSync(source);
    machine.run(['up']);
    expect(machine.log()).toBe('npm run --silent build:ts\n'.repeat(2));
  });

  it('installs npm packages again when the lock file has changed', () => {
    writeFileSync(join(machine.checkout, 'package-lock.json'), '{"changed": true}');
    machine.run(['up']);
    expect(machine.log()).toMatch(/^npm ci/);
  });

  it('does no set-up for other commands, and finds the command behind options', () => {
    writeFileSync(join(machine.checkout, 'libs', 'new.ts'), '');
    expect(machine.run(['--data', 'up', 'ps', '--json']).stdout).toContain('main.js --data up ps --json');
    expect(machine.log()).toBe('');
    machine.run(['--data', '/elsewhere', 'up']);
    expect(machine.log()).toBe('npm run --silent build:ts\n');
  });
});
