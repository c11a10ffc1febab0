import type { Microvm, MicrovmRecord } from '#protocol';
import { microvmHistory } from '#protocol';
import { openMicrovmJournal, type ReplayReport } from '#fleet';
import { Fleet, until } from '../support/fleet';
import { describeWithAnyVmm } from '../support/vmm-here';

interface Failed {
  code: number;
  stdout: string;
  stderr: string;
}

describeWithAnyVmm('histories of a real fleet', (vmm) => {
  let fleet: Fleet;
  const instants: number[] = [];
  const ids: Record<'red' | 'blue' | 'green', string> = { red: '', blue: '', green: '' };

  beforeAll(async () => {
    fleet = await Fleet.upWith(vmm);
    const mark = (): void => void instants.push(Date.now());
    ids.red = (await fleet.running({ tenant: 'red' })).id;
    mark();
    ids.blue = (await fleet.running({ tenant: 'blue' })).id;
    mark();
    await fleet.rest('DELETE', `/v1/microvms/${ids.red}?wait=deleted`);
    mark();
    ids.green = (await fleet.running({ tenant: 'green' })).id;
    mark();
  }, 120_000);
  afterAll(async () => {
    await fleet?.down();
  }, 90_000);

  const json = async <T>(...args: string[]): Promise<T> =>
    JSON.parse((await fleet.volley(...args, '--json')).stdout) as T;

  it('shows the fleet as it was, and what became of it', async () => {
    const at = async (instant: number): Promise<string[]> =>
      (await json<{ items: Microvm[] }>('fleet', '--at', String(instant))).items
        .map(({ tenant }) => tenant)
        .filter((tenant) => tenant !== 'default'); // what `volley up` itself started
    expect(await at(instants[0]!)).toEqual(['red']);
    expect(await at(instants[1]!)).toEqual(['red', 'blue']);
    expect(await at(instants[2]!)).toEqual(['blue']);
    const { stdout } = await fleet.volley('diff', String(instants[0]), String(instants[3]));
    expect(stdout).toContain('2 appeared, 0 changed, 1 ended, 0 came and went');
    const then = await json<Microvm>('inspect', ids.red, '--at', String(instants[1]));
    expect([then.state, typeof then.pid]).toEqual(['running', 'number']);
  });

  it('tells who shared a host with a tenant, from the histories', async () => {
    const asked = ['coresidency', '--tenant', 'blue', '--from', String(instants[0]), '--to', String(instants[3])];
    const { hosts } = await json<{
      hosts: { own: string[]; others: { tenant: string; microvms: { id: string }[] }[] }[];
    }>(...asked);
    expect(hosts).toHaveLength(1);
    expect(hosts[0]!.own).toEqual([ids.blue]);
    const others = hosts[0]!.others.map(({ tenant, microvms }) => [tenant, microvms.map(({ id }) => id)]);
    expect(others.filter(([tenant]) => tenant !== 'default')).toEqual([
      ['green', [ids.green]],
      ['red', [ids.red]],
    ]);
    expect((await fleet.volley(...asked)).stdout).toContain('red');
  });

  it('proves that replay equals live while the fleet changes', async () => {
    const group = { name: 'pair', replicas: 2, spec: { image: 'canary', memoryMiB: 16 } };
    await fleet.rest('POST', '/v1/groups', group);
    let churning = true;
    const churn = (async () => {
      while (churning) {
        const { id } = await fleet.running();
        await fleet.rest('DELETE', `/v1/microvms/${id}`);
      }
    })();
    const report = await json<ReplayReport>('audit', 'replay').finally(() => (churning = false));
    await churn;
    expect(report).toMatchObject({ ok: true, differences: [], illegal: [] });
    expect(report.views.map(({ service, kind }) => `${service} ${kind}`).sort()).toEqual([
      'controller group',
      'controller host',
      'controller microvm',
      'gateway group',
      'gateway host',
      'gateway microvm',
    ]);
    for (const { liveHash, replayedHash } of report.views) expect(liveHash).toBe(replayedHash);
    expect(report.records.microvm).toBeGreaterThan(10);
    expect(report.living.group).toBe(1);
  });

  it('says so, with exit code 1, when a history is not what its machine would have written', async () => {
    const nats = await fleet.nats('controller');
    const journal = await openMicrovmJournal(nats, () => undefined);
    const { entries, lastSequence } = await journal.read(microvmHistory(ids.green));
    const last = entries.at(-1)!.record;
    const forged: MicrovmRecord = {
      ...last,
      commandId: 'forged',
      from: 'running',
      to: 'stopped',
      events: [{ type: 'pauseRequested' }],
    };
    const options = { commandId: 'forged', expectedSequence: lastSequence };
    await journal.append(microvmHistory(ids.green), forged, options);
    await nats.close();
    const failed = await fleet.volley('audit', 'replay').catch((error: unknown) => error as Failed);
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('replay does not equal live') as string });
    expect((failed as Failed).stdout).toContain(`microvm ${ids.green}: record`);
  });

  it('says how long histories are kept', async () => {
    await until('the mark is there', async () => (await fleet.volley('retention')).stdout.includes('for ever'));
  });
});
