import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** init as it is built, or the one that VOLLEY_INIT names: that of a build with sanitizers, for instance. */
const INIT = process.env['VOLLEY_INIT'] ?? join(__dirname, '../../native/build/guest/init');
export const hasInit = existsSync(INIT);

/** describe, or skipped aloud where init is not built. */
export function describeWithInit(name: string, body: () => void): void {
  if (hasInit) return describe(name, body);
  process.stderr.write(`SKIPPED: ${name}: init is not built; run: npm run build:native\n`);
  describe.skip(name, body);
}

export interface GuestAgentProcess {
  readonly pid: number;
  /** The agent's own socket: every connection is one exchange. */
  readonly socketPath: string;
  /** A socket in the place of a VMM's `vsock.sock`, with the CONNECT handshake. */
  readonly vsockPath: string;
  /** An empty folder for what the test copies. */
  readonly folder: string;
  /** What it printed about the machine: `power off`, `reboot`. */
  readonly lines: string[];
  /** Connections that came over {@link vsockPath} and are open. */
  readonly connections: ReadonlySet<Socket>;
  readonly ended: Promise<unknown>;
  /** Waits until it has no children, that is, no sessions. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

/** A real agent process, as it runs in a guest, but behind Unix sockets. */
export async function startGuestAgent(config?: Uint8Array): Promise<GuestAgentProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'volley-agent-'));
  const socketPath = join(folder, 'agent.sock');
  const args = ['--agent-on', socketPath];
  if (config) {
    writeFileSync(join(folder, 'config'), config);
    args.push('--config', join(folder, 'config'));
  }
  const agent = spawn(INIT, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(agent, 'exit');
  const lines: string[] = [];
  const output = createInterface({ input: agent.stdout });
  output.on('line', (line) => lines.push(line));
  await Promise.race([
    once(output, 'line'),
    ended.then(() => Promise.reject(new Error('the agent ended before it was ready'))),
  ]);
  const connections = new Set<Socket>();
  const vsockPath = join(folder, 'vsock.sock');
  const vsock = await fakeVsock(vsockPath, socketPath, connections);
  const copies = join(folder, 'copies');
  return {
    pid: agent.pid!,
    socketPath,
    vsockPath,
    folder: mkdtempSync(`${copies}-`),
    lines,
    connections,
    ended,
    idle: () => noChildren(agent),
    async stop() {
      for (const socket of connections) socket.destroy();
      vsock.close();
      agent.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function fakeVsock(path: string, agentPath: string, connections: Set<Socket>): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (host) => {
    connections.add(host);
    host.on('close', () => connections.delete(host)).on('error', () => undefined);
    host.once('data', (line: Buffer) => {
      if (line.toString() !== 'CONNECT 1024\n') return void host.destroy();
      const guest = connect({ path: agentPath, allowHalfOpen: true });
      guest.on('error', () => host.destroy());
      guest.on('connect', () => {
        host.write('OK 1073741824\n');
        host.pipe(guest).pipe(host);
      });
      host.on('close', () => guest.destroy());
      guest.on('close', () => host.destroy());
    });
  });
  server.listen(path);
  await once(server, 'listening');
  return server;
}

/** Sessions are its children. The kernel tells nobody when a stranger's child ends, so it is asked. */
async function noChildren(agent: ChildProcess): Promise<void> {
  const { readFile } = await import('node:fs/promises');
  for (;;) {
    const children = await readFile(`/proc/${agent.pid}/task/${agent.pid}/children`, 'utf8');
    if (children.trim() === '') return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
