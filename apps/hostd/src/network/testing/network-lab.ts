import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Slot } from '../../slots/slot-layout';
import { findTool } from '../tools';
import { describeUnless } from '../../../../../test/support/skip-aloud';

/** Why tests with real network namespaces cannot run here, or undefined when they can. */
export function networkMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  if (!existsSync('/dev/net/tun')) return 'no /dev/net/tun';
  for (const tool of ['ip', 'nft', 'nsenter']) if (findTool(tool) === undefined) return `${tool} is not installed`;
  try {
    execFileSync(findTool('ip')!, ['netns', 'add', `vlab-try-${process.pid}`], { stdio: 'ignore' });
    execFileSync(findTool('ip')!, ['netns', 'del', `vlab-try-${process.pid}`], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'network namespaces cannot be made';
  }
}

/** `describe`, or a skipped one that says aloud why. */
export function describeWithNetwork(title: string, body: () => void): void {
  describeUnless(networkMissing(), title, body);
}

/** A program in a namespace that listens and connects as it is told. */
const PROGRAM = `
const net = require('net'), dgram = require('dgram');
const sockets = new Map(); let heard = 0;
const say = (id, result) => process.send({ id, result });
process.on('message', ({ id, do: what, ...m }) => {
  if (what === 'listen') {
    const server = net.createServer((s) => { s.on('error', () => {}); s.write(s.remoteAddress + '\\n'); sockets.set('in', s); });
    server.listen(m.port, '0.0.0.0', () => say(id, 'listening'));
    const udp = dgram.createSocket('udp4'); udp.on('message', (_, from) => { heard++; udp.send(from.address, from.port, from.address); }); udp.bind(m.port);
  } else if (what === 'connect') {
    const s = net.connect({ host: m.host, port: m.port, localAddress: m.from });
    const timer = setTimeout(() => { s.destroy(); say(id, 'timeout'); }, m.ms);
    s.once('data', (d) => { clearTimeout(timer); say(id, String(d).trim()); if (m.keep) { sockets.set(m.keep, s); s.on('data', (d) => { s.got = (s.got || '') + d; }); } else s.destroy(); });
    s.on('error', (e) => { clearTimeout(timer); say(id, e.code); });
  } else if (what === 'udp') {
    const s = dgram.createSocket('udp4');
    const timer = setTimeout(() => { s.close(); say(id, 'timeout'); }, m.ms);
    s.once('message', (d) => { clearTimeout(timer); s.close(); say(id, String(d)); });
    s.on('error', (e) => say(id, e.code));
    s.send('x', m.port, m.host);
  } else if (what === 'push') { sockets.get(m.keep).write(m.text); say(id, 'pushed'); }
  else if (what === 'heard') say(id, String(heard));
  else if (what === 'got') say(id, sockets.get(m.keep).got || '');
});
process.on('disconnect', () => process.exit());
process.send({ id: 0 });
`;

export class Resident {
  #next = 0;
  readonly #waiting = new Map<number, (result: string) => void>();

  private constructor(
    readonly namespace: string,
    private readonly child: ChildProcess,
  ) {
    child.on('message', ({ id, result }: { id: number; result: string }) => this.#waiting.get(id)?.(result));
  }

  static async in(namespace: string): Promise<Resident> {
    const child = spawn(findTool('nsenter')!, [`--net=/run/netns/${namespace}`, process.execPath, '-e', PROGRAM], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await once(child, 'message');
    return new Resident(namespace, child);
  }

  #ask(message: object): Promise<string> {
    const id = ++this.#next;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.child.send({ id, ...message });
    });
  }

  listen(port: number): Promise<string> {
    return this.#ask({ do: 'listen', port });
  }
  /** What the other side says (the address it sees), an errno, or `timeout`. */
  connect(host: string, port: number, more: { from?: string; keep?: string; ms?: number } = {}): Promise<string> {
    return this.#ask({ do: 'connect', host, port, ms: 400, ...more });
  }
  udp(host: string, port: number, ms = 400): Promise<string> {
    return this.#ask({ do: 'udp', host, port, ms });
  }
  push(keep: string, text: string): Promise<string> {
    return this.#ask({ do: 'push', keep, text });
  }
  got(keep: string): Promise<string> {
    return this.#ask({ do: 'got', keep });
  }
  /** How many UDP messages reached it. */
  async heard(): Promise<number> {
    return Number(await this.#ask({ do: 'heard' }));
  }
  end(): void {
    this.child.kill('SIGKILL');
  }
}

/** A host in a namespace of its own, with a world behind it, and guests behind veths that stand in for taps. */
export class NetworkLab {
  readonly host: string;
  readonly world: string;
  readonly #namespaces: string[] = [];
  readonly #residents: Resident[] = [];

  /** Addresses of the world; the last ones are a cloud's metadata service and a neighbour in the host's network. */
  static readonly WORLD = ['203.0.113.5', '203.0.113.6', '10.9.0.1', '169.254.169.254'];
  static readonly HOST_ADDRESSES = ['198.51.100.1', '192.168.77.1'];

  constructor(private readonly tag: string) {
    this.host = this.#add('h');
    this.world = this.#add('w');
    this.ip(this.host, `link add wan type veth peer name lan netns ${this.world}`);
    // Namespaces inherit what the machine has.
    this.run(this.host, 'sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward');
    this.ip(this.host, 'link set lo up');
    this.ip(this.host, 'addr add 198.51.100.1/24 dev wan');
    this.ip(this.host, 'addr add 192.168.77.1/32 dev lo');
    this.ip(this.host, 'link set wan mtu 1400 up');
    this.ip(this.world, 'link set lo up');
    this.ip(this.world, 'addr add 198.51.100.2/24 dev lan');
    this.ip(this.world, 'link set lan up');
    for (const address of NetworkLab.WORLD) this.ip(this.world, `addr add ${address}/32 dev lo`);
    this.ip(this.host, 'route add default via 198.51.100.2');
  }

  #add(what: string): string {
    const name = `vlab-${this.tag}-${what}`;
    execFileSync(findTool('ip')!, ['netns', 'add', name]);
    this.#namespaces.push(name);
    return name;
  }

  ip(namespace: string, words: string): string {
    return execFileSync(findTool('ip')!, ['-n', namespace, ...words.split(' ')], { encoding: 'utf8', stdio: 'pipe' });
  }

  nft(namespace: string, ...words: string[]): string {
    return this.run(namespace, findTool('nft')!, ...words);
  }

  run(namespace: string, ...words: string[]): string {
    return execFileSync(findTool('nsenter')!, [`--net=/run/netns/${namespace}`, ...words], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
  }

  /** Someone in the world or on the host. */
  async resident(namespace: string): Promise<Resident> {
    const resident = await Resident.in(namespace);
    this.#residents.push(resident);
    return resident;
  }

  /** A guest in this slot; its veth takes the name of the tap in the agent's namespace. */
  async guest(agentNamespace: string, slot: Slot): Promise<Resident> {
    const name = this.#add(`g${slot.number}`);
    this.ip(agentNamespace, `link add ${slot.tap} type veth peer name eth0 netns ${name}`);
    this.ip(name, 'link set lo up');
    this.ip(name, `link set eth0 address ${slot.mac} up`);
    this.ip(name, `addr add ${slot.address}/31 dev eth0`);
    this.ip(name, `route add default via ${slot.gateway}`);
    return this.resident(name);
  }

  close(): void {
    for (const resident of this.#residents) resident.end();
    for (const name of this.#namespaces) execFileSync(findTool('ip')!, ['netns', 'del', name], { stdio: 'ignore' });
  }
}
