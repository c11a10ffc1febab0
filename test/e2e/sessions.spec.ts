import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { Fleet, until } from '../support/fleet';
import { hasInit, startGuestAgent, type GuestAgentProcess } from '../support/guest-agent';
import { describeWithKvm } from '../support/kvm';
import { natsServerMissing } from '../support/nats-server';

jest.setTimeout(180_000);

const ROOT = join(__dirname, '../..');
const hasScript = spawnSync('script', ['--version']).status === 0;

/**
 * The whole way of `volley exec`, `cp` and `console`: command, gateway, NATS, host agent, vsock socket. Behind that, in the place of the
 * VMM's own socket, is a real agent of a guest; the microVM itself is a canary, which has none.
 */
describeWithKvm('sessions from end to end', () => {
  if (natsServerMissing() || !hasInit) return it.todo('needs nats-server and init');
  let fleet: Fleet;
  let agent: GuestAgentProcess;

  beforeAll(async () => {
    fleet = await Fleet.up('--no-canary');
    agent = await startGuestAgent();
    const { id } = await fleet.running({ name: 'box', vsock: true });
    const { runDir } = JSON.parse(fs.readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as { runDir: string };
    const socket = fs
      .readdirSync(runDir, { recursive: true, encoding: 'utf8' })
      .find((path) => path.includes(`${id}-1/`) && path.endsWith('vsock.sock'));
    expect(socket).toBeDefined();
    fs.rmSync(join(runDir, socket!));
    fs.symlinkSync(agent.vsockPath, join(runDir, socket!));
  });
  afterAll(async () => {
    await agent?.stop();
    await fleet?.down();
  });

  interface Ran {
    code: number | null;
    stdout: string;
    stderr: string;
  }

  const start = (...args: string[]): ChildProcess =>
    spawn(join(ROOT, 'volley'), ['--data', fleet.data, ...args], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], VOLLEY_SETUP: 'skip', TERM: 'xterm' },
      stdio: 'pipe',
    });
  const ended = async (child: ChildProcess, input?: string | Buffer): Promise<Ran> => {
    const texts = { stdout: '', stderr: '' };
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text));
    child.stdin!.on('error', () => undefined);
    if (input !== undefined) child.stdin!.end(input);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, ...texts };
  };
  const volley = (...args: string[]): Promise<Ran> => ended(start(...args));

  it('exec gives output, errors and exit code', async () => {
    expect(await volley('exec', 'box', '--', 'sh', '-c', 'echo out; echo err >&2; exit 42')).toEqual({
      code: 42,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect((await volley('exec', 'box', '--', 'sh', '-c', 'kill -9 $$')).code).toBe(137);
    const { stdout } = await volley('exec', '-e', 'A=1', '-w', '/usr', 'box', '--', 'sh', '-c', 'echo $A; pwd');
    expect(stdout).toBe('1\n/usr\n');
  });

  it('exec says why it did not', async () => {
    const missing = await volley('exec', 'box', '--', 'no-such-program');
    expect(missing).toMatchObject({ code: 127, stderr: expect.stringContaining('no such program') });
    expect((await volley('exec', 'box', '--', '/etc')).code).toBe(126);
    expect((await volley('exec', 'nobody', '--', 'true')).code).toBe(4);
    const { id } = await fleet.running();
    const without = await volley('exec', id, '--', 'true');
    expect(without).toMatchObject({ code: 2, stderr: expect.stringContaining('no vsock device') });
  });

  it('exec takes input, to its end', async () => {
    const input = Buffer.alloc(3_000_000, 'x');
    expect((await ended(start('exec', '-i', 'box', '--', 'wc', '-c'), input)).stdout.trim()).toBe('3000000');
    // A command that takes none of it ends all the same.
    expect((await ended(start('exec', '-i', 'box', '--', 'true'), input)).code).toBe(0);
  });

  it('exec passes Ctrl-C on, and takes the command along when it is killed', async () => {
    const child = start(
      'exec',
      'box',
      '--',
      'sh',
      '-c',
      'trap "echo interrupted; exit 9" INT; echo on; while :; do sleep 0.1; done',
    );
    const running = ended(child);
    await once(child.stdout!, 'data');
    // The wrapper script is in between, as a shell is at a terminal: the whole group gets it.
    for (const pid of descendants(child.pid!)) process.kill(pid, 'SIGINT');
    expect(await running).toMatchObject({ code: 9, stdout: expect.stringContaining('interrupted') });
    const other = start('exec', 'box', '--', 'sh', '-c', 'echo on; sleep 1000');
    await once(other.stdout!, 'data');
    for (const pid of descendants(other.pid!)) process.kill(pid, 'SIGKILL');
    await agent.idle();
  });

  (hasScript ? it : it.skip)('exec -it gives a terminal of the size there is', async () => {
    const command = `${join(ROOT, 'volley')} --data ${fleet.data} exec -it box -- sh -c "stty size; tty; read line; echo got \\$line"`;
    const child = spawn('script', ['-qfec', `stty rows 31 cols 97; ${command}`, '/dev/null'], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], VOLLEY_SETUP: 'skip', TERM: 'xterm' },
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      if (/pts/.test((text += part)) && !text.includes('typed')) child.stdin.write('typed\r');
    });
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(0);
    // Node leaves the terminal here turning \n into \r\n once more.
    expect(text.replace(/\r+/g, '\r')).toContain('31 97\r\n/dev/pts/');
    expect(text).toContain('got typed');
  });

  it('cp copies files and folders in and out', async () => {
    const here = fs.mkdtempSync(join(agent.folder, 'here-'));
    const there = fs.mkdtempSync(join(agent.folder, 'there-'));
    fs.mkdirSync(join(here, 'site/deep'), { recursive: true });
    fs.writeFileSync(join(here, 'site/deep/page'), 'a page');
    fs.writeFileSync(join(here, 'site/big'), Buffer.alloc(2_000_000, 'b'));
    expect(await volley('cp', join(here, 'site'), `box:${there}`)).toMatchObject({ code: 0, stderr: '' });
    expect(fs.readFileSync(join(there, 'site/deep/page'), 'utf8')).toBe('a page');
    expect((await volley('cp', `box:${there}/site`, join(here, 'back'))).code).toBe(0);
    expect(fs.readFileSync(join(here, 'back/big')).equals(fs.readFileSync(join(here, 'site/big')))).toBe(true);
    const { stdout } = await volley('cp', `box:${there}/site/deep`, '-');
    expect(stdout).toContain('a page');
    expect((await ended(start('cp', '-', `box:${there}/copy/`), stdout)).code).toBe(0);
    expect(fs.readFileSync(join(there, 'copy/deep/page'), 'utf8')).toBe('a page');
    expect(await volley('cp', `box:${there}/nothing`, here)).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('No such file'),
    });
    expect((await volley('cp', 'box:/a', 'box:/b')).code).toBe(2);
  });

  it('console shows what the microVM writes', async () => {
    const child = start('console', 'box');
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (part: string) => (text += part));
    await until('it shows', () => Promise.resolve(text.includes('canary')));
    for (const pid of descendants(child.pid!)) process.kill(pid, 'SIGTERM');
    await once(child, 'close');
  });

  it('POST exec answers in one request', async () => {
    const { items } = (await fleet.rest<{ items: { id: string }[] }>('GET', '/v1/microvms?name=box')).body;
    const run = await fleet.rest('POST', `/v1/microvms/${items[0]!.id}/exec`, {
      command: ['cat'],
      stdin: 'through it all',
    });
    expect(run).toMatchObject({ status: 200, body: { exitCode: 0, stdout: 'through it all' } });
  });

  it('ends with the microVM', async () => {
    const child = start('exec', 'box', '--', 'sh', '-c', 'echo on; sleep 1000');
    const running = ended(child);
    await once(child.stdout!, 'data');
    await volley('kill', 'box');
    expect(await running).toMatchObject({ code: 3, stderr: expect.stringContaining('the microVM has ended') });
    await agent.idle();
  });
});

/** A process and all below it. */
function descendants(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => descendants(Number(child))))];
}
