import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pack, type Header } from 'tar-stream';
import { describeWithInit, startGuestAgent, type GuestAgentProcess } from '../../../test/support/guest-agent';
import { GuestConnectionError, GuestProtocolError, GuestRefusedError, GuestRequestError } from './errors';
import { encodeExec, type ExecRequest, type GuestProgram, type ProgramEnd } from './exec';
import { encodeFrame, GUEST_FRAME, GUEST_STDIN_WINDOW } from './frame';
import { GuestAgent } from './guest-agent';
import { encodeInitConfig } from './init-config';
import { connectToGuest } from './vsock-connection';

const isRoot = userInfo().uid === 0;

interface Ran {
  end: ProgramEnd;
  stdout: string;
  stderr: string;
}

describeWithInit('the agent of a guest', () => {
  let process: GuestAgentProcess;
  let guest: GuestAgent;

  beforeAll(async () => {
    process = await startGuestAgent(encodeInitConfig({ env: ['FROM_IMAGE=yes', 'BOTH=image'], workdir: '/usr' }));
    guest = new GuestAgent(() => connectToGuest(process.vsockPath));
  });
  afterAll(() => process?.stop());

  /** Starts a program and collects what it says; `drive` gets it when it runs. */
  async function run(request: ExecRequest, drive?: (program: GuestProgram) => void): Promise<Ran> {
    const texts = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    const program = await guest.exec(request, {
      started: () => drive?.(program),
      output: (stream, bytes) => texts[stream].push(bytes),
    });
    const end = await program.ended;
    return { end, stdout: Buffer.concat(texts.stdout).toString(), stderr: Buffer.concat(texts.stderr).toString() };
  }
  const sh = (script: string, more: Partial<ExecRequest> = {}): ExecRequest => ({
    command: ['sh', '-c', script],
    ...more,
  });

  describe('runs programs, which', () => {
    it('say what they say and exit with their code', async () => {
      expect(await run(sh('echo out; echo err >&2; exit 7'))).toEqual({
        end: { code: 7 },
        stdout: 'out\n',
        stderr: 'err\n',
      });
    });

    it('end by signals', async () => {
      expect((await run(sh('kill -9 $$'))).end).toEqual({ signal: 9 });
      const { end } = await run(sh('trap "" HUP; sleep 100'), (program) => program.signal(15));
      expect(end).toEqual({ signal: 15 });
    });

    it("get the image's environment, what is added to it, and a folder to work in", async () => {
      const { stdout } = await run(sh('echo $FROM_IMAGE $BOTH $ADDED; pwd', { env: ['BOTH=exec', 'ADDED=1'] }));
      expect(stdout).toBe('yes exec 1\n/usr\n');
      expect((await run(sh('pwd', { workdir: '/etc' }))).stdout).toBe('/etc\n');
    });

    (isRoot ? it : it.skip)('run as the user that is asked for', async () => {
      const { stdout } = await run(sh('id -u; id -g; echo $HOME', { user: '4242:77' }));
      expect(stdout).toBe('4242\n77\n/\n');
      expect((await run(sh('id -un; id -G', { user: 'daemon' }))).stdout).toBe('daemon\n1\n');
      await expect(run(sh('true', { user: 'nobody-knows' }))).rejects.toThrow('no user "nobody-knows"');
    });

    it('that are not there are refused with a sentence', async () => {
      await expect(run({ command: ['no-such-program'] })).rejects.toMatchObject({
        code: 'ENOENT',
        message: expect.stringContaining('no-such-program'),
      });
      await expect(run({ command: ['/etc'] })).rejects.toMatchObject({ code: 'EACCES' });
      await expect(run(sh('true', { workdir: '/not/there' }))).rejects.toThrow('cannot work in /not/there');
    });

    it('read what is sent to them to its end', async () => {
      const { stdout } = await run({ command: ['wc', '-c'], stdin: true }, (program) => {
        program.write(Buffer.alloc(200_000, 'x'));
        program.endInput();
      });
      expect(stdout.trim()).toBe('200000');
      // Without standard input it is empty.
      expect((await run({ command: ['cat'] })).end).toEqual({ code: 0 });
    });

    it('leave others behind without being waited for', async () => {
      const { end, stdout } = await run(sh('sleep 100 & echo started $!'));
      expect(end).toEqual({ code: 0 });
      globalThis.process.kill(Number(/started (\d+)/.exec(stdout)![1]));
    });

    it('run many at once', async () => {
      const ran = await Promise.all(Array.from({ length: 40 }, (_, i) => run(sh(`echo ${i}; exit ${i}`))));
      expect(ran.map(({ end, stdout }) => [end, stdout])).toEqual(ran.map((_, i) => [{ code: i }, `${i}\n`]));
    });
  });

  describe('gives a terminal that', () => {
    it('is one, has its size, and is resized', async () => {
      const script =
        'trap "stty size; exit 3" WINCH; test -t 0 && test -t 1 && test -t 2 && stty size; echo ready; while :; do sleep 0.1; done';
      let text = '';
      const program = await guest.exec(sh(script, { tty: { rows: 33, columns: 99 } }), {
        output: (_, bytes) => {
          text += bytes.toString();
          if (text.endsWith('ready\r\n')) program.resize(11, 22);
        },
      });
      expect(await program.ended).toEqual({ code: 3 });
      expect(text).toBe('33 99\r\nready\r\n11 22\r\n');
    });

    it('interrupts by its keys and ends its input by ^D', async () => {
      const interrupted = await run(
        { command: ['sleep', '100'], tty: { rows: 24, columns: 80 }, stdin: true },
        (program) => program.write(Buffer.from([3])),
      );
      expect(interrupted.end).toEqual({ signal: 2 });
      const ended = await run({ command: ['cat'], tty: { rows: 24, columns: 80 }, stdin: true }, (program) => {
        program.write(Buffer.from('line\n'));
        program.endInput();
      });
      expect(ended).toMatchObject({ end: { code: 0 }, stdout: 'line\r\nline\r\n' });
    });

    it('is the controlling one', async () => {
      expect((await run(sh('echo hello > /dev/tty; echo $TERM', { tty: { rows: 1, columns: 1 } }))).stdout).toBe(
        'hello\r\nxterm\r\n',
      );
    });
  });

  describe('holds back', () => {
    it('a program whose output nobody reads', async () => {
      const bytes = 64 * 1_048_576;
      let started!: (pid: number) => void;
      const pid = new Promise<number>((resolve) => (started = resolve));
      const program = await guest.exec(
        { command: ['head', '-c', String(bytes), '/dev/zero'] },
        { output: () => undefined, started: (id) => started(id) },
      );
      const io = `/proc/${await pid}/io`;
      program.pause();
      // It stops somewhere: what it has written does not grow any more. Buffers are here, there and in the sockets.
      const written = (): number => Number(/wchar: (\d+)/.exec(fs.readFileSync(io, 'utf8'))![1]);
      let before = -1;
      while (before !== written()) {
        before = written();
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      expect(before).toBeLessThan(4 * 1_048_576);
      program.resume();
      expect(await program.ended).toEqual({ code: 0 });
    });

    it('who writes more than the program takes, and lets signals pass', async () => {
      let took!: () => void;
      const taken = new Promise<void>((resolve) => (took = resolve));
      const program = await guest.exec(
        { command: ['sleep', '100'], stdin: true },
        { output: () => undefined, taken: () => took() },
      );
      program.write(Buffer.alloc(GUEST_STDIN_WINDOW));
      await taken;
      // What the pipe holds counts as taken; that, and no more.
      expect(program.window).toBeLessThanOrEqual(65_536);
      expect(() => program.write(Buffer.alloc(GUEST_STDIN_WINDOW))).toThrow(GuestRequestError);
      program.signal(15);
      expect(await program.ended).toEqual({ signal: 15 });
    });

    it('nothing of what flows', async () => {
      const mebibytes = 24;
      let received = 0;
      const program = await guest.exec(
        { command: ['cat'], stdin: true },
        {
          output: (_, bytes) => (received += bytes.length),
          taken: () => feed(),
        },
      );
      let left = mebibytes * 1_048_576;
      const feed = (): void => {
        const bytes = Math.min(left, program.window);
        if (bytes > 0) program.write(Buffer.alloc(bytes));
        left -= bytes;
        if (left === 0) {
          left = -1;
          program.endInput();
        }
      };
      feed();
      expect(await program.ended).toEqual({ code: 0 });
      expect(received).toBe(mebibytes * 1_048_576);
    });
  });

  describe('ends what a connection started when that breaks', () => {
    const gone = async (pid: number): Promise<void> => {
      for (;;) {
        try {
          globalThis.process.kill(pid, 0);
        } catch {
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };

    it('by SIGHUP', async () => {
      const mark = join(process.folder, 'hung-up');
      const program = await guest.exec(
        sh(`trap "echo hup > ${mark}; exit" HUP; echo ready; while :; do sleep 0.05; done`),
        {
          output: () => program.close(),
        },
      );
      await expect(program.ended).rejects.toThrow(GuestConnectionError);
      await process.idle();
      expect(fs.readFileSync(mark, 'utf8')).toBe('hup\n');
    });

    it('and by SIGKILL when it will not hear, with all of its group', async () => {
      const pids: number[] = [];
      const program = await guest.exec(sh(`trap "" HUP; sleep 100 & echo $$ $!; wait; sleep 100`), {
        output: (_, bytes) => {
          pids.push(...bytes.toString().trim().split(' ').map(Number));
          program.close();
        },
      });
      await expect(program.ended).rejects.toThrow(GuestConnectionError);
      for (const pid of pids) await gone(pid);
      await process.idle();
      expect(pids).toHaveLength(2);
    });

    it('also when half of it is closed', async () => {
      const socket = await connectToGuest(process.vsockPath);
      socket.on('data', () => undefined);
      socket.end(encodeFrame(GUEST_FRAME.exec, encodeExec({ command: ['sleep', '100'] })));
      await once(socket, 'close');
      await process.idle();
    });
  });

  describe('copies', () => {
    let folder: string;
    beforeEach(() => (folder = fs.mkdtempSync(join(process.folder, 'copy-'))));
    const tarOf = (entries: [Partial<Header> & { name: string }, string?][]): Readable => {
      const archive = pack();
      for (const [header, content] of entries) archive.entry(header, content ?? '');
      archive.finalize();
      return Readable.from(archive, { objectMode: false });
    };
    const put = (path: string, ...entries: [Partial<Header> & { name: string }, string?][]): Promise<void> =>
      guest.put(path, tarOf(entries));
    const textOf = (name: string): string => fs.readFileSync(join(folder, name), 'utf8');

    it('a tree in and out, the same', async () => {
      const from = join(folder, 'from');
      fs.mkdirSync(join(from, 'deep/er'), { recursive: true });
      fs.writeFileSync(join(from, 'big'), Buffer.alloc(3_000_001, 'b'));
      fs.writeFileSync(join(from, 'deep/er/empty'), '');
      fs.writeFileSync(join(from, 'tool'), '#!/bin/sh', { mode: 0o755 });
      fs.symlinkSync('../nowhere', join(from, 'link'));
      fs.linkSync(join(from, 'tool'), join(from, 'tool-too'));
      fs.writeFileSync(join(from, 'ä ö'), 'names');
      const tar = execFileSync('tar', ['-C', folder, '-cf', '-', 'from'], { maxBuffer: 1 << 24 });
      await guest.put(`${folder}/to`, Readable.from([tar], { objectMode: false }));
      execFileSync('diff', ['-r', '--no-dereference', from, join(folder, 'to')]);
      expect(fs.statSync(join(folder, 'to/tool')).mode & 0o777).toBe(0o755);
      expect(fs.statSync(join(folder, 'to/tool')).ino).toBe(fs.statSync(join(folder, 'to/tool-too')).ino);
      expect(Math.floor(fs.statSync(join(folder, 'to/big')).mtimeMs / 1000)).toBe(
        Math.floor(fs.statSync(join(from, 'big')).mtimeMs / 1000),
      );

      const back = join(folder, 'back');
      fs.mkdirSync(back);
      const parts: Buffer[] = [];
      for await (const part of await guest.get(`${folder}/to/`)) parts.push(part as Buffer);
      execFileSync('tar', ['-C', back, '-xf', '-'], { input: Buffer.concat(parts) });
      execFileSync('diff', ['-r', '--no-dereference', from, join(back, 'to')]);
    });

    it('into a folder that is there, or as what is to be made', async () => {
      await put(folder, [{ name: 'a' }, 'in a folder']);
      expect(textOf('a')).toBe('in a folder');
      await put(`${folder}/a`, [{ name: 'x' }, 'replaced']);
      expect(textOf('a')).toBe('replaced');
      await put(`${folder}/new/b`, [{ name: 'x' }, 'renamed']);
      expect(textOf('new/b')).toBe('renamed');
      await put(`${folder}/made/`, [{ name: 'c' }, 'one'], [{ name: 'd' }, 'two']);
      expect([textOf('made/c'), textOf('made/d')]).toEqual(['one', 'two']);
      await put(
        `${folder}/dot`,
        [{ name: './', type: 'directory' }],
        [{ name: './e' }, 'three'],
        [{ name: './f/g' }, 'four'],
      );
      expect([textOf('dot/e'), textOf('dot/f/g')]).toEqual(['three', 'four']);
      await expect(put(`${folder}/two`, [{ name: 'a' }, '1'], [{ name: 'b' }, '2'])).rejects.toThrow(
        'more than one thing',
      );
    });

    it('nothing out of the folder that is copied to', async () => {
      const target = join(folder, 'target');
      fs.mkdirSync(target);
      fs.mkdirSync(join(folder, 'outside'));
      fs.symlinkSync(join(folder, 'outside'), join(target, 'was-there'));
      await expect(put(target, [{ name: '../escaped' }, 'x'])).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(put(target, [{ name: `${folder}/escaped` }, 'x'])).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(put(target, [{ name: 'a/../../escaped' }, 'x'])).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(put(target, [{ name: 'was-there/x' }, 'x'])).rejects.toMatchObject({ code: 'EXDEV' });
      await expect(
        put(target, [{ name: 'link', type: 'symlink', linkname: '..' }], [{ name: 'link/escaped' }, 'x']),
      ).rejects.toMatchObject({ code: 'EXDEV' });
      await expect(
        put(target, [{ name: 'link', type: 'symlink', linkname: folder }], [{ name: 'link/escaped' }, 'x']),
      ).rejects.toMatchObject({ code: 'EXDEV' });
      await expect(
        put(target, [{ name: 'hard', type: 'link', linkname: '../../../../../../../../etc/passwd' }]),
      ).rejects.toMatchObject({ code: 'EINVAL' });
      expect(fs.readdirSync(folder).sort()).toEqual(['outside', 'target']);
      expect(fs.readdirSync(join(folder, 'outside'))).toEqual([]);
    });

    it('over a symbolic link without following it', async () => {
      fs.writeFileSync(join(folder, 'victim'), 'untouched');
      fs.mkdirSync(join(folder, 'target'));
      fs.symlinkSync('../victim', join(folder, 'target/file'));
      await put(`${folder}/target`, [{ name: 'file' }, 'fresh']);
      expect([textOf('victim'), textOf('target/file')]).toEqual(['untouched', 'fresh']);
      expect(fs.lstatSync(join(folder, 'target/file')).isFile()).toBe(true);
    });

    it('files whole or not at all', async () => {
      fs.writeFileSync(join(folder, 'kept'), 'before');
      const archive = pack();
      const entry = archive.entry({ name: 'kept', size: 1_000_000 });
      entry.write(Buffer.alloc(100_000));
      const tar = Readable.from(archive, { objectMode: false });
      const copying = guest.put(folder, tar);
      while (!fs.readdirSync(folder).some((name) => name.startsWith('.volley-new'))) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const socket of process.connections) socket.destroy();
      await expect(copying).rejects.toThrow(GuestConnectionError);
      await process.idle();
      expect(fs.readdirSync(folder)).toEqual(['kept']);
      expect(textOf('kept')).toBe('before');
    });

    it('what is at the end of a link that is asked for, and links in folders as links', async () => {
      fs.writeFileSync(join(folder, 'file'), 'text');
      fs.symlinkSync('file', join(folder, 'link'));
      const parts: Buffer[] = [];
      for await (const part of await guest.get(join(folder, 'link'))) parts.push(part as Buffer);
      const names = execFileSync('tar', ['-tvf', '-'], { input: Buffer.concat(parts) }).toString();
      expect(names).toMatch(/^-.* link\n$/);
    });

    it('what the kernel says although it says that it is empty, and no more of it', async () => {
      const list = async (path: string): Promise<string> => {
        const parts: Buffer[] = [];
        for await (const part of await guest.get(path)) parts.push(part as Buffer);
        return execFileSync('tar', ['-xOf', '-'], { input: Buffer.concat(parts) }).toString();
      };
      expect(await list('/proc/version')).toBe(fs.readFileSync('/proc/version', 'utf8'));
      expect(await list('/proc')).toBe('');
    });

    it('not on when the guest is gone: the archive breaks', async () => {
      fs.writeFileSync(join(folder, 'big'), Buffer.alloc(30_000_000));
      const tar = await guest.get(join(folder, 'big'));
      const reading = (async () => {
        let bytes = 0;
        for await (const part of tar) {
          bytes += (part as Buffer).length;
          if (bytes > 1_000_000) for (const socket of process.connections) socket.destroy();
        }
      })();
      await expect(reading).rejects.toThrow(GuestConnectionError);
      await process.idle();
    });

    it('not what is not there, and says so', async () => {
      await expect(guest.get(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(guest.get('relative')).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(guest.get('/dev/null')).rejects.toThrow('neither a file nor a folder');
      await expect(put('relative', [{ name: 'a' }, 'x'])).rejects.toThrow(GuestRefusedError);
      await expect(
        guest.put(folder, Readable.from([Buffer.alloc(2_000, 'no tar')], { objectMode: false })),
      ).rejects.toThrow('no whole tar archive');
      const device = tarOf([[{ name: 'dev', type: 'character-device', devmajor: 1, devminor: 3 }]]);
      await expect(guest.put(folder, device)).rejects.toThrow('cannot be copied');
    });
  });

  it('answers pings, and leaves the clock of a machine that is no guest alone', async () => {
    await guest.ping();
    await expect(guest.setClock(1n)).rejects.toMatchObject({ code: 'EPERM' });
  });

  it('survives whatever is sent to it', async () => {
    const send = async (...parts: Uint8Array[]): Promise<void> => {
      const socket = connect(process.socketPath);
      socket.on('error', () => undefined).resume();
      for (const part of parts) socket.write(part);
      socket.end();
      await once(socket, 'close');
    };
    let seed = 7;
    const random = (most: number): number => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) % most;
    const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random(256)));
    const types = Object.values(GUEST_FRAME).filter((type) => type !== GUEST_FRAME.shutdown);
    for (let i = 0; i < 300; i++) {
      const frames = Array.from({ length: 1 + random(4) }, () =>
        encodeFrame(types[random(types.length)]!, noise(random(80))),
      );
      await send(...frames, noise(random(20)));
    }
    await send(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]));
    await process.idle();
    await guest.ping();
  });
});

describeWithInit('an agent that is told to shut down', () => {
  it.each([
    ['poweroff', 'power off'],
    ['reboot', 'reboot'],
  ] as const)('%s', async (how, line) => {
    const process = await startGuestAgent();
    try {
      await new GuestAgent(() => connectToGuest(process.vsockPath)).shutDown(how);
      await process.ended;
      expect(process.lines).toEqual(['ready', line]);
    } finally {
      await process.stop();
    }
  });
});

describe('connecting to a guest', () => {
  const path = join(fs.mkdtempSync('/tmp/volley-vsock-'), 'vsock.sock');
  afterAll(() => fs.rmSync(join(path, '..'), { recursive: true, force: true }));

  async function answering(answer: (line: string) => string | undefined, act: () => Promise<void>): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (line: Buffer) => {
        const text = answer(line.toString());
        if (text === undefined) socket.destroy();
        else socket.write(text);
      });
    }).listen(path);
    await once(server, 'listening');
    try {
      await act();
    } finally {
      server.close();
    }
  }

  it('says the port, and keeps what follows the answer', () =>
    answering(
      (line) => (line === 'CONNECT 77\n' ? 'OK 5\nmore' : undefined),
      async () => {
        const socket = await connectToGuest(path, 77);
        const [chunk] = (await once(socket, 'data')) as [Buffer];
        expect(chunk.toString()).toBe('more');
        socket.destroy();
      },
    ));

  it('fails when nobody listens, or the answer is none', async () => {
    await expect(connectToGuest(path)).rejects.toThrow('the VMM cannot be reached');
    await answering(
      () => undefined,
      () => expect(connectToGuest(path)).rejects.toThrow('the guest does not listen'),
    );
    await answering(
      () => 'x'.repeat(100),
      () => expect(connectToGuest(path)).rejects.toThrow(GuestConnectionError),
    );
    await answering(
      () => '',
      () => expect(connectToGuest(path, 1, 50)).rejects.toThrow('did not answer within 50 ms'),
    );
  });

  it('to one that lies is a protocol error', () =>
    answering(
      () => 'OK 5\n' + encodeFrame(GUEST_FRAME.stdout, Buffer.from('x')).toString('latin1'),
      async () => {
        const guest = new GuestAgent(() => connectToGuest(path));
        await expect(guest.ping()).rejects.toThrow(GuestProtocolError);
      },
    ));
});
