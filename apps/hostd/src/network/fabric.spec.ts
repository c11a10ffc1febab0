import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Network } from '#protocol';
import { slotOf, type Slot } from '../slots/slot-layout';
import { Fabric, type FabricParts, type Resident as Living } from './fabric';
import { FabricOwners } from './fabric-owner';
import { parseNetwork } from './ipv4';
import { describeWithNetwork, NetworkLab, type Resident } from './testing/network-lab';

const POOL = parseNetwork('100.64.0.0/16')!;
const layout = (number: number): Slot => slotOf(number, { uidBase: 200_000, pool: POOL });
const REFUSED = /^(EHOSTUNREACH|ECONNREFUSED|EACCES|timeout|ENETUNREACH)$/;

describeWithNetwork('the network of microVMs', () => {
  let scratch: string;
  let lab: NetworkLab;
  let parts: FabricParts;
  let fabric: Fabric;
  let world: Resident;
  let neighbour: Resident;
  const slots = [0, 1, 2].map(layout);
  let guests: Resident[];

  const open = (residents: Living[] = [], more: Partial<FabricParts> = {}) =>
    Fabric.open({ ...parts, ...more }, residents, layout);
  const network = (wishes: object = {}): Network => Network.parse(wishes);
  const counter = (name: string): number => {
    const text = lab.nft(`volley-${parts.name}`, 'list', 'counter', 'inet', 'volley', name);
    return Number(/packets (\d+)/.exec(text)![1]);
  };

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'volley-net-'));
    const name = `t${process.pid}`;
    lab = new NetworkLab(name);
    parts = {
      name,
      hostDir: scratch,
      pool: POOL,
      blocked: [parseNetwork('10.9.0.0/16')!],
      owners: new FabricOwners(join(scratch, 'owners')),
      identity: { pid: process.pid, startTicks: '1' },
      log: pino({ level: 'silent' }),
      hostNamespace: `/run/netns/${lab.host}`,
    };
    fabric = await open();
    guests = [];
    for (const slot of slots) guests.push(await lab.guest(`volley-${name}`, slot));
    // The next agent takes the guests' links for the taps that it finds.
    fabric = await open();
    world = await lab.resident(lab.world);
    await world.listen(80);
    await world.listen(443);
    neighbour = await lab.resident(lab.host);
    await neighbour.listen(22);
  });

  afterAll(async () => {
    await fabric.close();
    lab.close();
    rmSync(scratch, { recursive: true, force: true });
  });

  it('takes over taps, and the MTU of the way out', () => {
    expect(slots.map(({ number }) => fabric.hasTap(number))).toEqual([true, true, true]);
    expect(fabric.mtu).toBe(1_400);
  });

  it('reaches the world under the address of the host', async () => {
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('198.51.100.1');
    expect(await guests[0]!.udp('198.51.100.2', 80)).toBe('198.51.100.1');
  });

  it.each([...NetworkLab.HOST_ADDRESSES, 'link', 'gateway', 'uplink'])(
    'never reaches the host: %s',
    async (address) => {
      const link = JSON.parse(lab.ip(lab.host, `-j addr show dev vly${parts.name}`)) as {
        addr_info: { local: string }[];
      }[];
      const { local } = link[0]!.addr_info[0]!;
      const own = {
        link: local,
        gateway: slots[0]!.gateway,
        uplink: local.replace(/\d+$/, (last) => String(Number(last) + 1)),
      };
      const target = own[address as keyof typeof own] ?? address;
      expect(await guests[0]!.connect(target, 22)).toMatch(REFUSED);
      expect(await guests[0]!.udp(target, 22)).toMatch(REFUSED);
    },
  );

  it('never reaches the metadata service of a cloud, nor what the operator forbids', async () => {
    expect(await guests[0]!.connect('169.254.169.254', 80)).toMatch(REFUSED);
    expect(await guests[0]!.connect('10.9.0.1', 80)).toMatch(REFUSED);
    expect(counter('forbidden')).toBeGreaterThan(0);
    await fabric.grant(slots[0]!, network({ egress: 'listed', allow: ['169.254.169.254', '0.0.0.0/0'] }));
    expect(await guests[0]!.connect('169.254.169.254', 80)).toMatch(REFUSED);
    await fabric.scrub(slots[0]!);
  });

  it('never reaches another microVM', async () => {
    await guests[1]!.listen(80);
    const before = counter('between_microvms');
    expect(await guests[0]!.connect(slots[1]!.address, 80)).toMatch(REFUSED);
    expect(await guests[0]!.udp(slots[1]!.address, 80, 100)).toMatch(REFUSED);
    expect(await guests[1]!.heard()).toBe(0);
    expect(counter('between_microvms')).toBeGreaterThan(before);
  });

  it('cannot speak from an address that is not its own', async () => {
    const before = counter('spoofed');
    for (const address of [slots[1]!.address, '203.0.113.6', '198.51.100.1']) {
      lab.ip(guests[0]!.namespace, `addr add ${address}/32 dev eth0`);
      expect(await guests[0]!.connect('203.0.113.5', 80, { from: address })).toMatch(REFUSED);
      lab.ip(guests[0]!.namespace, `addr del ${address}/32 dev eth0`);
    }
    expect(counter('spoofed')).toBeGreaterThanOrEqual(before + 3);
  });

  it('reaches only what is listed, where that is asked for', async () => {
    await fabric.grant(
      slots[0]!,
      network({ egress: 'listed', allow: ['203.0.113.5:443', '203.0.113.6/32', '203.0.113.0/24:1-10'] }),
    );
    expect(await guests[0]!.connect('203.0.113.5', 443)).toBe('198.51.100.1');
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('EHOSTUNREACH');
    expect(await guests[0]!.connect('203.0.113.6', 80)).toBe('198.51.100.1');
    expect(await guests[1]!.connect('203.0.113.5', 80)).toBe('198.51.100.1');
    await fabric.scrub(slots[0]!);
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('198.51.100.1');
  });

  it('hands ports of the host on to a guest, and to no other microVM', async () => {
    await guests[2]!.listen(8080);
    await fabric.grant(
      slots[2]!,
      network({
        forwards: [
          { hostPort: 18080, guestPort: 8080 },
          { hostPort: 18081, guestPort: 8080, protocol: 'udp' },
        ],
      }),
    );
    // From the world, from the host itself and from its loopback.
    expect(await world.connect('198.51.100.1', 18080)).toBe('198.51.100.2');
    expect(await world.udp('198.51.100.1', 18081)).toBe('198.51.100.2');
    expect(await neighbour.connect('192.168.77.1', 18080)).toMatch(/^100\.64\./);
    expect(await neighbour.connect('127.0.0.1', 18080)).toMatch(/^100\.64\./);
    expect(await guests[0]!.connect('198.51.100.1', 18080)).toMatch(REFUSED);
    expect(await world.connect('198.51.100.1', 8080)).toMatch(REFUSED);
    await fabric.scrub(slots[2]!);
    expect(await world.connect('198.51.100.1', 18080)).toMatch(REFUSED);
  });

  it('cuts the connections of a tenant before the next one comes', async () => {
    expect(await guests[1]!.connect('203.0.113.5', 443, { keep: 'old' })).toBe('198.51.100.1');
    await world.push('in', 'heard ');
    await expect(guests[1]!.got('old')).resolves.toBe('heard ');
    const before = counter('uninvited');
    await fabric.scrub(slots[1]!);
    await world.push('in', 'unheard');
    await waitFor(() => counter('uninvited') > before);
    expect(await guests[1]!.got('old')).toBe('heard ');
  });

  it('keeps connections and wishes when an agent takes over from a killed one', async () => {
    const wishes = network({
      egress: 'listed',
      allow: ['203.0.113.6'],
      forwards: [{ hostPort: 18082, guestPort: 80 }],
    });
    await fabric.grant(slots[1]!, wishes);
    expect(await guests[1]!.connect('203.0.113.6', 443, { keep: 'kept' })).toBe('198.51.100.1');
    // Nothing is told to the old one: it is as if it had been killed.
    fabric = await open([{ slot: slots[1]!, network: wishes }]);
    await world.push('in', 'still here');
    let text = '';
    await waitFor(async () => (text = await guests[1]!.got('kept')) !== '');
    expect(text).toBe('still here');
    expect(await guests[1]!.connect('203.0.113.5', 443)).toBe('EHOSTUNREACH');
    expect(await world.connect('198.51.100.1', 18082)).toBe('198.51.100.2');
    // Without its microVM in the journal the wishes are gone.
    fabric = await open();
    expect(await guests[1]!.connect('203.0.113.5', 443)).toBe('198.51.100.1');
    expect(await world.connect('198.51.100.1', 18082)).toMatch(REFUSED);
  });

  it('lays all rules anew when a change fails because somebody else meddled', async () => {
    lab.nft(`volley-${parts.name}`, 'flush', 'set', 'inet', 'volley', 'live');
    await fabric.scrub(slots[0]!);
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('198.51.100.1');
  });

  it('lets a second agent live beside it on the same host', async () => {
    const other = await open([], { name: `u${process.pid}`, hostDir: '/' });
    await other.makeTaps([layout(0)]);
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('198.51.100.1');
    await other.close();
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('198.51.100.1');
  });

  it('makes many taps at once, and finds them again', async () => {
    const many = Array.from({ length: 100 }, (_, n) => layout(100 + n));
    await fabric.makeTaps(many);
    const links = lab.ip(`volley-${parts.name}`, 'link show');
    expect(many.filter(({ tap }) => !links.includes(` ${tap}: `))).toEqual([]);
    await fabric.makeTaps(many);
    expect(lab.ip(`volley-${parts.name}`, `neigh show ${many[7]!.address}`)).toContain('PERMANENT');
  });

  it('finds and puts right what somebody else changed', async () => {
    const clean = { strayTaps: [], missingTaps: [], strayPolicies: [], missingPolicies: [] };
    expect(await fabric.scan()).toEqual(clean);
    await fabric.grant(slots[0]!, network({ egress: 'listed' }));
    lab.ip(`volley-${parts.name}`, 'link del vt100');
    lab.ip(`volley-${parts.name}`, 'tuntap add dev vt999 mode tap');
    lab.nft(`volley-${parts.name}`, 'add', 'chain', 'inet', 'volley', 'policy_77');
    lab.nft(`volley-${parts.name}`, 'delete', 'element', 'inet', 'volley', 'policies', `{ ${slots[0]!.address} }`);
    lab.nft(`volley-${parts.name}`, 'flush', 'chain', 'inet', 'volley', 'policy_0');
    lab.nft(`volley-${parts.name}`, 'delete', 'chain', 'inet', 'volley', 'policy_0');
    const found = await fabric.scan();
    expect(found).toEqual({
      strayTaps: ['vt999'],
      missingTaps: ['vt100'],
      strayPolicies: ['policy_77'],
      missingPolicies: ['policy_0'],
    });
    await fabric.repair(found.strayTaps, found.missingTaps);
    await fabric.relay();
    expect(await fabric.scan()).toEqual(clean);
    expect(await guests[0]!.connect('203.0.113.5', 80)).toBe('EHOSTUNREACH');
    lab.nft(`volley-${parts.name}`, 'delete', 'table', 'inet', 'volley');
    expect((await fabric.scan()).missingPolicies).toEqual(['table']);
    await fabric.relay();
    expect(await fabric.scan()).toEqual(clean);
    await fabric.scrub(slots[0]!);
  });

  it('leaves no tap behind when a batch fails', async () => {
    lab.ip(`volley-${parts.name}`, 'link add vt301 type veth peer name vp301');
    await expect(fabric.makeTaps([300, 301].map(layout))).rejects.toThrow(/failed/);
    expect(fabric.hasTap(300)).toBe(false);
    await fabric.makeTaps([300, 301].map(layout));
    expect(fabric.hasTap(301)).toBe(true);
  });

  it('removes what an agent left whose folder is gone, and leaves nothing of its own', async () => {
    const gone = mkdtempSync(join(tmpdir(), 'volley-net-'));
    await open([], { name: `v${process.pid}`, hostDir: gone, identity: { pid: 4_194_305, startTicks: '1' } });
    rmSync(gone, { recursive: true });
    expect(existsSync(`/run/netns/volley-v${process.pid}`)).toBe(true);
    const last = await open([], { name: `w${process.pid}`, hostDir: '/' });
    expect(existsSync(`/run/netns/volley-v${process.pid}`)).toBe(false);
    await fabric.close();
    await last.close();
    expect(lab.nft(lab.host, 'list', 'ruleset')).toBe('');
    expect(lab.ip(lab.host, 'link show')).not.toContain('vly');
    expect(existsSync(fabric.namespacePath)).toBe(false);
    expect(lab.run(lab.host, 'cat', '/proc/sys/net/ipv4/ip_forward').trim()).toBe('0');
    fabric = await open();
  });
});

async function waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('never');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
