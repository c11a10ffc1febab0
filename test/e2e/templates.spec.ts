import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, chmodSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { scanVmms } from '#chaos';
import { ObjectBucket } from '#images';
import { freePort } from '#ports';
import {
  TEMPLATE_CONTENT_BUCKET,
  type FleetDensity,
  type HistoryEntry,
  type Host,
  type Microvm,
  type MicrovmSpecInput,
  type Template,
} from '#protocol';
import { Fleet, until } from '../support/fleet';
import { belongingsOf } from '../support/host-belongings';
import { describeWithKvm } from '../support/kvm';

jest.setTimeout(180_000);

/** Those that have this file in memory. */
function processesThatMap(file: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/maps`, 'latin1').includes(` ${file}`);
    } catch {
      return false; // it has ended meanwhile
    }
  });
}

const CLONES = 20;

/** A whole fleet with real VMMs: templates, clones and suspension as an operator has them. */
describeWithKvm('templates on a real fleet', () => {
  let fleet: Fleet;
  const hostFolder = (...path: string[]): string => join(fleet.data, 'host', ...path);
  const filesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
  const templateOf = async (microvmId: string, more: object = {}): Promise<Template> => {
    const { status, body } = await fleet.rest<Template>('POST', '/v1/templates', { microvmId, ...more });
    expect([status, body.state]).toEqual([202, 'creating']);
    return body;
  };
  const template = async (id: string): Promise<Template> =>
    (await fleet.rest<Template>('GET', `/v1/templates/${id}`)).body;
  const becomes = async (id: string, state: Template['state']): Promise<Template> => {
    await until(`template ${id} is ${state}`, async () => (await template(id)).state === state).catch(
      async (error: unknown) => {
        throw new Error(`${String(error)}; it is ${JSON.stringify(await template(id))}`);
      },
    );
    return template(id);
  };
  const isStored = async (id: string): Promise<void> => {
    await until('the object store has it', async () => (await template(id)).stored, 60_000).catch(
      async (error: unknown) => {
        throw new Error(`${String(error)}; it is ${JSON.stringify(await template(id))}\n${fleet.logs()}`);
      },
    );
  };
  const clone = async (of: string, more: Partial<MicrovmSpecInput> = {}): Promise<Microvm> => {
    const { status, body } = await fleet.rest<Microvm>('POST', '/v1/microvms?wait=running&timeout=60s', {
      template: of,
      ...more,
    });
    if (status !== 201) throw new Error(`not running: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  const command = async (id: string, verb: string, wait: string): Promise<Microvm> => {
    const { status, body } = await fleet.rest<Microvm>(
      'POST',
      `/v1/microvms/${id}/${verb}?wait=${wait}&timeout=60s`,
      {},
    );
    if (status !== 200) throw new Error(`${verb}: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  const log = async (id: string): Promise<string> => (await fleet.rest<string>('GET', `/v1/microvms/${id}/log`)).body;
  /** By the report of the only host. */
  const waiting = (count: number): Promise<void> =>
    until(`${count} clones wait`, async () => {
      const { hosts } = (await fleet.rest<FleetDensity>('GET', '/v1/density')).body;
      return hosts[0]?.pooled?.clones === count;
    });
  const remove = async (id: string): Promise<void> => {
    await fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted`);
  };
  const eventsOf = async (id: string): Promise<string[]> => {
    const { body } = await fleet.rest<{ entries: HistoryEntry[] }>('GET', `/v1/microvms/${id}/history`);
    return body.entries.flatMap(({ events }) => events.map(({ type }) => type));
  };

  beforeAll(async () => {
    fleet = new Fleet();
    fleet.env = { VOLLEY_NETWORK: 'auto' };
    await fleet.up();
    // The one that `up` boots.
    for (const { id } of await fleet.list()) await remove(id);
  });
  afterAll(() => fleet?.down());
  afterEach(async () => {
    for (const { id } of await fleet.list()) await remove(id);
    await until('nothing runs', () => Promise.resolve(fleet.vmms().length === 0));
  });

  it('clones are microVMs of their own that share the memory of their template, and nothing of them stays', async () => {
    const source = await fleet.running({ memoryMiB: 64, cmdline: 'touch=32' });
    await until('it has touched its memory', async () => (await log(source.id)).includes('touched'));
    const made = await templateOf(source.id, { name: 'warm' });
    const ready = await becomes(made.id, 'ready');
    expect(ready).toMatchObject({ name: 'warm', image: 'canary', memoryMiB: 64, hosts: [source.hostId] });
    expect(ready.bytes).toBeGreaterThan(32 * 2 ** 20);
    expect(ready.pauseMs).toBeGreaterThan(0);
    expect((await fleet.get(source.id)).state).toBe('running');

    const clones = await Promise.all(Array.from({ length: CLONES }, (_, i) => clone('warm', { name: `clone-${i}` })));
    expect(new Set(clones.map(({ id }) => id)).size).toBe(CLONES);
    expect(new Set(clones.map(({ pid }) => pid)).size).toBe(CLONES);
    expect(clones.map(({ template: of, memoryMiB }) => [of, memoryMiB])).toEqual(clones.map(() => [made.id, 64]));
    const generations = await Promise.all(
      clones.map(async ({ id }) => {
        let found: RegExpExecArray | null = null;
        await until('it knows that it is another', async () => {
          found = /generation ([0-9a-f]{32})/.exec(await log(id));
          return found !== null;
        });
        return found![1]!;
      }),
    );
    expect(new Set(generations).size).toBe(CLONES);

    // A pool has clones waiting that are restored and nobody; a claim takes one of them, and another one comes.
    const members = (): number[] => processesThatMap(hostFolder('templates', made.id, 'memory'));
    const before = members();
    await fleet.rest('PUT', `/v1/templates/${made.id}/pool`, { min: 2, max: 2 });
    await waiting(2);
    const pooled = members().filter((pid) => !before.includes(pid));
    expect(pooled).toHaveLength(2);
    const claimed = await clone('warm');
    expect(pooled).toContain(claimed.pid);
    await until('another one waits', () => Promise.resolve(members().length === before.length + 3));
    clones.push(claimed);

    // What belongs to another tenant is not there, and what a clone cannot have is said.
    const refused = async (spec: object): Promise<string> => {
      const { status, body } = await fleet.rest<{ detail: string }>('POST', '/v1/microvms', {
        template: 'warm',
        ...spec,
      });
      return `${status} ${body.detail}`;
    };
    expect(await refused({ tenant: 'another' })).toContain('422 template: there is no template "warm"');
    expect(await refused({ memoryMiB: 256 })).toContain('422 memoryMiB: is 64 in the template');

    expect((await fleet.rest('DELETE', `/v1/templates/${made.id}`)).status).toBe(200);
    await until('its files are gone', () => Promise.resolve(!existsSync(hostFolder('templates', made.id))));
    await waiting(0);
    for (const { id } of clones) expect((await fleet.get(id)).state).toBe('running');
    for (const { id } of [...clones, source]) await remove(id);
    expect(await fleet.list()).toEqual([]);
    expect(filesIn(hostFolder('templates'))).toEqual(['drafts']);
    expect(filesIn(hostFolder('suspended'))).toEqual(['drafts']);
    expect(filesIn(hostFolder('templates', 'drafts'))).toEqual([]);
    const listed = async () => (await fleet.rest<{ items: Template[] }>('GET', '/v1/templates')).body.items;
    await until('it is listed no more', async () => (await listed()).length === 0);
  });

  it('a full pool ends with its agent, however that ends, and with a drain, leaves nothing, and fills again', async () => {
    const FULL = 12;
    const source = await fleet.running({ memoryMiB: 32 });
    const made = await templateOf(source.id, { afterwards: 'end' });
    await becomes(made.id, 'ready');
    await isStored(made.id);
    await remove(source.id);
    /** Slots are made ready ahead of need in whatever order; how many hold a process is what counts. */
    const holds = async (): Promise<string> => {
      const { cgroups, ...others } = await belongingsOf(fleet);
      return JSON.stringify({ ...others, cgroups: cgroups.length });
    };
    let empty = await holds();
    await until('the host is at rest', async () => empty === (empty = await holds()));
    const members = (): number[] => processesThatMap(hostFolder('templates', made.id, 'memory'));
    let known: number[] = [];
    const fills = async (): Promise<void> => {
      await until('all that wait are new ones', () => {
        const now = members();
        return Promise.resolve(now.length === FULL && !now.some((pid) => known.includes(pid)));
      });
      await waiting(FULL);
      known = members();
    };
    const isEmpty = async (): Promise<void> => {
      await waiting(0);
      expect(members()).toEqual([]);
      let now = '';
      await until('nothing is left behind', async () => (now = await holds()) === empty).catch((error: Error) => {
        throw new Error(`${error.message}; before: ${empty}\nnow: ${now}`);
      });
    };
    const setPool = (size: number) => fleet.rest('PUT', `/v1/templates/${made.id}/pool`, { min: size, max: size });
    await setPool(FULL);
    await fills();

    await fleet.kill9('volley-hostd');
    await until('they end with their agent', () => Promise.resolve(!known.some((pid) => existsSync(`/proc/${pid}`))));
    await fills();

    const host = `/v1/hosts/${source.hostId}`;
    const comesTo = async (state: Host['state']): Promise<void> =>
      until(`the host is ${state}`, async () => (await fleet.rest<Host>('GET', host)).body.state === state);
    expect((await fleet.rest('POST', `${host}/drain`, {})).status).toBe(200);
    await comesTo('drained');
    await isEmpty();
    expect((await fleet.rest('DELETE', `${host}/drain`)).status).toBe(200);
    await comesTo('ready');
    await fills();

    await setPool(0);
    await isEmpty();
    await fleet.rest('DELETE', `/v1/templates/${made.id}`);
  });

  it('a clone may have a fresh disk in the place of one that the guest of its template does not use', async () => {
    const words = 'write=0,0,64,7 wait=10000 verify=0,0,64,7 id=1 zeros=1,0,64 write=1,2048,64,9 verify=1,2048,64,9';
    const source = await fleet.running({ disks: [{ sizeMiB: 4 }, { sizeMiB: 1 }], cmdline: words });
    await until('it has written to its first disk', async () => (await log(source.id)).includes('write 0 ok'));
    // It stands still before it comes to its second disk.
    await command(source.id, 'pause', 'paused');
    const made = await templateOf(source.id, { name: 'two-disks', afterwards: 'end' });
    expect(await becomes(made.id, 'ready')).toMatchObject({ unusedDisks: [1] });
    const refused = async (disks: object[]): Promise<string> => {
      const { status, body } = await fleet.rest<{ detail: string }>('POST', '/v1/microvms', {
        ...{ template: 'two-disks', disks },
      });
      return `${status} ${body.detail}`;
    };
    const fresh = { sizeMiB: 4, fresh: 'empty' };
    expect(await refused([fresh, fresh])).toContain('422 disks.0.fresh: the guest of the template uses this disk');
    expect(await refused([fresh])).toContain('422 disks: the template has 2');
    expect(await refused([{ sizeMiB: 4 }, { sizeMiB: 4 }])).toContain('422 disks.1: is one of 1 MiB in the template');

    const one = await clone('two-disks', { disks: [{ sizeMiB: 4 }, { sizeMiB: 4, fresh: 'empty' }] });
    const same = await clone('two-disks');
    await until('it has used its disks', async () => (await log(one.id)).includes('verify 1'));
    // As far as its new disk reaches, which is beyond the end of the one before; and what was on the other is there.
    expect(await log(one.id)).toMatch(/verify 0 ok[^]*id 1 ok serial=disk1 sectors=8192[^]*zeros 1 ok[^]*verify 1 ok/);
    await until('the other one as well', async () => (await log(same.id)).includes('verify 1'));
    expect(await log(same.id)).toMatch(/id 1 ok serial=disk1 sectors=2048[^]*verify 1 error/);
    await fleet.rest('DELETE', `/v1/templates/${made.id}`);
    for (const { id } of [one, same, source]) await remove(id);
  });

  it('a suspended microVM gives its place back, goes on where it stood, and keeps its history', async () => {
    const { id, pid } = await fleet.running({ memoryMiB: 32, name: 'sleeper' });
    const suspended = await command(id, 'suspend', 'suspended');
    expect(suspended).toMatchObject({ state: 'suspended', epoch: 1, pid: null });
    await until('its process is gone', () => Promise.resolve(fleet.vmms().length === 0));
    expect(statSync(hostFolder('suspended', id, 'memory')).size).toBeGreaterThanOrEqual(32 * 2 ** 20);
    // Through a restart of its agent.
    await fleet.kill9('volley-hostd');
    await until('the agent is back', async () =>
      (await fleet.status()).processes.some(({ name, pid: now }) => name === 'volley-hostd' && now !== null),
    );
    let back: Microvm | undefined;
    await until('it goes on', async () => (back = await command(id, 'resume', 'running')).state === 'running');
    expect(back).toMatchObject({ epoch: 2, name: 'sleeper' });
    expect(back!.pid).not.toBe(pid);
    await until('it knows that time has passed', async () => (await log(id)).includes('generation'));
    await until('the file of its memory is gone', () => Promise.resolve(!existsSync(hostFolder('suspended', id))));
    const events = await eventsOf(id);
    const story = ['started', 'suspendRequested', 'suspended', 'restoreRequested', 'started'];
    expect(events.filter((type) => story.includes(type))).toEqual(story);
    // As an operator has it, by name.
    expect((await fleet.volley('suspend', 'sleeper')).stdout).toContain(`${id} suspended`);
    expect((await fleet.volley('resume', 'sleeper')).stdout).toContain(`${id} running`);
    await command(id, 'suspend', 'suspended');
    await remove(id);
    expect(existsSync(hostFolder('suspended', id))).toBe(false);
  });

  it('who comes over the network wakes what wants to be woken, and the history says who', async () => {
    const port = await freePort('0.0.0.0');
    const forwards = [{ protocol: 'tcp' as const, hostPort: port, guestPort: 80 }];
    const { id } = await fleet.running({ memoryMiB: 32, network: { forwards }, wakeOn: ['packet'] });
    await command(id, 'suspend', 'suspended');
    // Nothing of another microVM comes in between.
    const query = '/v1/microvms?wait=running&timeout=30s';
    const other = await fleet.rest<{ detail: string; microvm: Microvm }>('POST', query, {
      ...{ image: 'canary', waitSeconds: 0, network: { forwards } },
    });
    expect([other.status, other.body.detail]).toEqual([409, expect.stringContaining(`tcp port ${port}`)]);
    await remove(other.body.microvm.id);
    // As clients do: one that comes while the port is changing hands gets no answer, and tries again.
    let connection: Socket | undefined;
    const knocked = (): void => {
      if (connection?.destroyed === false) return;
      connection = connect({ port, host: '127.0.0.1' }).setTimeout(1_000, () => connection?.destroy());
      connection.on('error', () => undefined);
    };
    const runs = async (): Promise<boolean> => (knocked(), (await fleet.get(id)).state === 'running');
    await until('it runs again', runs, 60_000);
    connection?.destroy();
    const { entries } = (await fleet.rest<{ entries: HistoryEntry[] }>('GET', `/v1/microvms/${id}/history`)).body;
    const woken = entries.find(({ events }) => events.some(({ type }) => type === 'restoreRequested'))!;
    expect(woken.cause).toMatchObject({ kind: 'host', by: (await fleet.get(id)).hostId });
    expect(woken.events).toMatchObject([{ reason: `woken by a connection to TCP port ${port} of its host` }]);
    await remove(id);
  });

  it('a program of the host that connects by vsock wakes what wants to be woken, is answered by its guest, and leaves nothing', async () => {
    const { runDir } = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as { runDir: string };
    const host = readdirSync(runDir).find((name) => /^volley-/.test(name))!;
    const sockets = (...name: string[]): string => join(runDir, host, 'vsock', ...name);
    const spec: MicrovmSpecInput = { memoryMiB: 32, vsock: true, wakeOn: ['vsock'], cmdline: 'listen=7' };
    const { id } = await fleet.running(spec);
    await until('it listens', async () => (await log(id)).includes('vsock 0 ok'));
    /** What its guest echoes, whatever it did until then. */
    const echo = async (text: string): Promise<string> => {
      let heard = '';
      const socket = connect(sockets(id)).on('error', (error) => (heard += error.message));
      socket.on('data', (data) => (heard += String(data))).write(`CONNECT 7\n${text}`);
      await until('it is answered', () => Promise.resolve(heard.endsWith(text) || socket.destroyed), 60_000);
      socket.destroy();
      return heard;
    };
    expect(await echo('awake')).toMatch(/^OK \d+\nawake$/);
    await command(id, 'suspend', 'suspended');
    expect(await echo('woken')).toMatch(/^OK \d+\nwoken$/);
    expect(await fleet.get(id)).toMatchObject({ state: 'running', epoch: 2 });
    await command(id, 'suspend', 'suspended');
    // The next agent is there in its place.
    await fleet.kill9('volley-hostd');
    const held = (): number => statSync(sockets(id), { throwIfNoEntry: false })?.ino ?? 0;
    const before = held();
    await until('the next agent holds it', () => Promise.resolve(![0, before].includes(held())));
    expect(await echo('once more')).toMatch(/^OK \d+\nonce more$/);
    const { entries } = (await fleet.rest<{ entries: HistoryEntry[] }>('GET', `/v1/microvms/${id}/history`)).body;
    const woken = entries.filter(({ events }) => events.some(({ type }) => type === 'restoreRequested'));
    const reason = 'woken by a connection of a program of its host to its vsock port 7';
    const { hostId } = await fleet.get(id);
    expect(woken).toMatchObject(Array(2).fill({ cause: { kind: 'host', by: hostId }, events: [{ reason }] }));
    await command(id, 'suspend', 'suspended');
    expect(readdirSync(sockets())).toEqual([id]);
    await remove(id);
    await until('its socket is gone', () => Promise.resolve(readdirSync(sockets()).length === 0));
    const without = await fleet.rest<{ detail: string }>('POST', '/v1/microvms', {
      image: 'canary',
      wakeOn: ['vsock'],
    });
    expect([without.status, without.body.detail]).toEqual([422, expect.stringContaining('vsock needs a vsock device')]);
  });

  it('an agent that is killed while it takes a snapshot leaves no half template; the next one makes it whole', async () => {
    const source = await fleet.running({ memoryMiB: 256, cmdline: 'touch=200' });
    await until('it has touched its memory', async () => (await log(source.id)).includes('touched'));
    const { id } = await templateOf(source.id);
    await until('it is being written', () =>
      Promise.resolve(
        filesIn(hostFolder('templates', 'drafts', id)).length > 0 || existsSync(hostFolder('templates', id)),
      ),
    );
    await fleet.kill9('volley-hostd');
    const whole = (): boolean => existsSync(hostFolder('templates', id, 'manifest.json'));
    if (existsSync(hostFolder('templates', id))) expect(whole()).toBe(true);
    await becomes(id, 'ready');
    expect(whole()).toBe(true);
    expect(filesIn(hostFolder('templates', 'drafts'))).toEqual([]);
    expect((await fleet.reaches(source.id, 'running')).pid).toBe(source.pid);
    await clone(id);
    await fleet.rest('DELETE', `/v1/templates/${id}`);
  });

  it('a clone runs on another host while the one that made its template is down; with the template, all copies go', async () => {
    const second = await fleet.secondHost({ VOLLEY_LABELS: 'place=second' });
    const { hostId, hostDir, runDir } = second.place;
    const nats = await fleet.nats();
    try {
      const source = await fleet.running({
        ...{ memoryMiB: 64, cmdline: 'touch=32' },
        placement: { hostLabels: { place: 'second' } },
      });
      await until('it has touched its memory', async () => (await log(source.id)).includes('touched'));
      const { id } = await templateOf(source.id, { name: 'far' });
      await becomes(id, 'ready');
      await isStored(id);
      // The first clone shows where clones are first in memory, and that is stored beside the template.
      const first = await clone('far', { placement: { hostLabels: { place: 'second' } } });
      const store = await ObjectBucket.open(nats, TEMPLATE_CONTENT_BUCKET);
      const workingSet = `${id}.working-set`;
      await until('its working set is stored', async () => (await store.stat(workingSet)) !== undefined, 60_000);
      // Suspended, a clone has that of its template until it has gone on once.
      await command(first.id, 'suspend', 'suspended');
      expect(readFileSync(join(hostDir, 'suspended', first.id, 'working-set'), 'utf8')).toBe(
        readFileSync(join(hostDir, 'templates', id, 'working-set'), 'utf8'),
      );
      await remove(first.id);
      await second.hold();
      await fleet.hostIs(hostId, 'unreachable');

      const far = await clone('far');
      expect(far.hostId).not.toBe(hostId);
      await until('it knows that it is another', async () => /generation [0-9a-f]{32}/.test(await log(far.id)));
      for (const file of ['memory', 'state', 'working-set']) {
        const [made, fetched] = [join(hostDir, 'templates', id, file), hostFolder('templates', id, file)];
        expect(readFileSync(fetched).equals(readFileSync(made))).toBe(true);
        expect(statSync(fetched).blocks).toBeLessThanOrEqual(statSync(made).blocks + 8);
      }
      const { body: placement } = await fleet.rest('GET', `/v1/microvms/${far.id}/placement`);
      expect(JSON.stringify(placement)).toMatch(/fetches its template, \d+ MiB/);
      expect((await fleet.volley('placement', far.id)).stdout).toContain('templateThere');
      await until('it is known where it is', async () => (await template(id)).hosts.length === 2);

      expect((await fleet.rest('DELETE', `/v1/templates/${id}`)).status).toBe(200);
      await until('the copy is gone', () => Promise.resolve(!existsSync(hostFolder('templates', id))));
      for (const name of [id, workingSet])
        await until('the object store has it no more', async () => (await store.stat(name)) === undefined);
      second.start();
      await fleet.hostIs(hostId, 'ready');
      await until('its maker has it no more', () => Promise.resolve(!existsSync(join(hostDir, 'templates', id))));
      expect((await fleet.get(far.id)).state).toBe('running');
      await remove(source.id);
      expect(scanVmms(runDir)).toEqual([]);
    } finally {
      await nats.close();
      await second.hold();
      // Nothing of the other tests is to be placed there.
      await fleet.hostIs(hostId, 'unreachable');
      rmSync(runDir, { recursive: true, force: true });
    }
  });

  it('a damaged template is fetched anew for the clone that needs it, and what runs goes on', async () => {
    const source = await fleet.running({ memoryMiB: 16 });
    const { id } = await templateOf(source.id);
    await becomes(id, 'ready');
    await isStored(id);
    const running = await clone(id);
    const memory = hostFolder('templates', id, 'memory');
    const content = readFileSync(memory);
    chmodSync(memory, 0o600);
    content.writeUInt8(content.readUInt8(4_096) ^ 0xff, 4_096);
    writeFileSync(memory, content);
    await clone(id);
    // Not by a matcher, which takes half a minute for so many bytes, and idle connections are closed by then.
    expect(readFileSync(memory).equals(content)).toBe(false);
    expect(existsSync(hostFolder('templates', id, 'fetched'))).toBe(true);
    expect((await template(id)).state).toBe('ready');
    expect(await fleet.get(source.id)).toMatchObject({ state: 'running', pid: source.pid });
    expect((await fleet.get(running.id)).state).toBe('running');
    await fleet.rest('DELETE', `/v1/templates/${id}`);
  });
});
