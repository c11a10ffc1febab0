import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import {
  ChaosFleet,
  checkJournalOf,
  digestOf,
  journalLine,
  limitsOf,
  look,
  readHistories,
  RunWatch,
  SeededRandom,
  until,
  type FoundVmm,
  type HostPlace,
  type StoredRecord,
  type Violation,
} from '#chaos';
import { itWithKvm } from '../support/kvm';
import { describeWithAnyVmm } from '../support/vmm-here';

jest.setTimeout(240_000);

const ROOT = join(__dirname, '../..');
const SLOTS = 8;
const STRANGER = '7'.repeat(26);
const ANOTHER = '6'.repeat(26);
const rulesOf = (violations: readonly Violation[]): string[] => [...new Set(violations.map(({ rule }) => rule))].sort();

/**
 * A checker that cannot fail proves nothing: each invariant is violated for real, on a fleet that runs, and must be reported; and
 * nothing may be reported before and after.
 */
describeWithAnyVmm('violations planted on a fleet', (microvms) => {
  let fleet: ChaosFleet;
  let place: HostPlace;
  let vmm: FoundVmm;
  const accepted: string[] = [];
  const imposters: ChildProcess[] = [];

  const whatIsWrong = async (also: readonly string[] = []): Promise<Violation[]> =>
    (await look(fleet, { accepted: [...accepted, ...also], telling: accepted, since: 0 })).violations;
  const folderOf = (microvmId: string, epoch: number): string =>
    join(place.runDir, `volley-${digestOf(place.hostDir)}`, `${microvmId}-${epoch}`);

  beforeAll(async () => {
    fleet = await ChaosFleet.up({ root: ROOT, slots: SLOTS, random: new SeededRandom(1), up: ['--vmm', microvms] });
    place = fleet.second.place;
    const onSecond = (): FoundVmm | undefined => fleet.vmms().find(({ runDirectory }) => runDirectory === place.runDir);
    while (onSecond() === undefined) accepted.push(await running({ image: 'canary', memoryMiB: 8 }));
    vmm = onSecond()!;
  });

  beforeEach(async () => {
    await until('nothing is wrong', async () => (await whatIsWrong()).length === 0, 60_000).catch(() => undefined);
    expect(await whatIsWrong()).toEqual([]);
  });

  afterEach(async () => {
    await Promise.all(imposters.splice(0).map(end));
    for (const path of [folderOf(STRANGER, 1), folderOf(ANOTHER, 1), folderOf(vmm.microvmId, 2)])
      rmSync(path, { recursive: true, force: true });
  });

  afterAll(() => fleet.down());

  async function running(spec: object): Promise<string> {
    const { status, body } = await fleet.rest<{ id: string }>('POST', '/v1/microvms?wait=running&timeout=60s', spec);
    expect(status).toBe(201);
    return body.id;
  }

  /** A process that looks like the VMM of an incarnation: by its name, its arguments and the page file that it has mapped. */
  async function imposter(microvmId: string, epoch: number): Promise<void> {
    const folder = folderOf(microvmId, epoch);
    mkdirSync(folder, { recursive: true });
    const program = join(folder, 'pages');
    copyFileSync('/bin/cat', program);
    // It waits for somebody to write into its argument, which is a pipe of the name of a microVM.
    execFileSync('mkfifo', [join(folder, microvmId)], { timeout: 60_000 });
    chmodSync(program, 0o755);
    const child = spawn(program, [microvmId], { argv0: 'volley-vmm', cwd: folder, stdio: 'ignore' });
    await once(child, 'spawn');
    imposters.push(child);
    await until('it can be seen', () => fleet.vmms().some(({ pid }) => pid === child.pid), 60_000);
  }

  async function end(child: ChildProcess): Promise<void> {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  function watched(deleted: readonly string[] = []): string[] {
    const watch = new RunWatch(fleet.hosts.map(({ runDir }) => runDir));
    watch.deleted(deleted);
    watch.look();
    return rulesOf(watch.violations);
  }

  it('S1: a microVM runs twice', async () => {
    expect(watched()).toEqual([]);
    await imposter(vmm.microvmId, 2);
    expect(watched()).toEqual(['S1']);
    expect(rulesOf(await whatIsWrong())).toContain('S1');
  });

  it('S2: what was accepted has no history', async () => {
    expect(rulesOf(await whatIsWrong([STRANGER]))).toContain('S2');
  });

  it('S3: a process, a run folder and a disk that no record knows', async () => {
    await imposter(STRANGER, 1);
    const disks = join(place.hostDir, 'disks/microvms', STRANGER);
    mkdirSync(disks, { recursive: true });
    try {
      const details = (await whatIsWrong()).filter(({ rule }) => rule === 'S3').map(({ detail }) => detail);
      for (const what of [/process \d+ of epoch 1 has no record/, /run folder/, /disks have no record/])
        expect(details).toContainEqual(expect.stringMatching(what));
    } finally {
      rmSync(disks, { recursive: true });
    }
  });

  it('S4, S6 and S7: a journal that grants more than there is, a slot twice, and what was over', async () => {
    const journal = join(place.hostDir, 'journal');
    const limits = (await limitsOf(fleet)).get(place.hostId)!;
    await fleet.second.hold();
    const { size } = statSync(journal);
    const slot = vmm.uid - 400_000;
    const spec = { vcpus: 1, memoryMiB: 1_000_000_000, tenant: 'default' };
    try {
      for (const change of [
        { type: 'fenced', microvmId: STRANGER, epoch: 1 },
        { type: 'admitted', microvmId: STRANGER, epoch: 1, spec, slot },
      ])
        appendFileSync(journal, journalLine({ at: Date.now(), change }));
      expect(rulesOf(checkJournalOf(place, limits).violations)).toEqual(['S4', 'S6', 'S7']);
    } finally {
      truncateSync(journal, size);
      fleet.second.start();
    }
  });

  it('S6: two microVMs in one slot', async () => {
    await imposter(STRANGER, 1);
    await imposter(ANOTHER, 1);
    expect(watched()).toEqual(['S6']);
  });

  // Only a guest looks into its disk.
  itWithKvm('S6: a disk that holds what another has left', async () => {
    const cmdline = 'write=0,0,64,5 zeros=0,0,64';
    const id = await running({ image: 'canary', memoryMiB: 8, disks: [{ sizeMiB: 1 }], cmdline });
    accepted.push(id);
    await until('it has found it', async () => rulesOf(await whatIsWrong()).includes('S6'), 60_000);
    await fleet.rest('DELETE', `/v1/microvms/${id}`);
  });

  it('S7: a microVM runs after it was deleted', () => {
    expect(watched([vmm.microvmId])).toEqual(['S7']);
  });

  // The last one: what is written into a history stays there.
  it('S5, S7 and S9: a history that somebody else has written into', async () => {
    const nats = await fleet.connectAs('controller');
    try {
      const records = await readHistories(await fleet.nats(), 'MICROVM_HISTORY');
      const last = records.filter(({ record }) => record.microvmId === accepted[0]).at(-1)!;
      const plant = async (change: Partial<StoredRecord['record']>): Promise<void> => {
        await nats.request(last.subject, JSON.stringify({ ...last.record, ...change }), { timeout: 60_000 });
      };
      await plant({});
      expect(rulesOf(await whatIsWrong())).toEqual(expect.arrayContaining(['S5', 'S9']));
      await plant({ commandId: 'planted-1', from: 'running', to: 'deleted' });
      await plant({ commandId: 'planted-2', from: 'deleted', to: 'running' });
      expect(rulesOf(await whatIsWrong())).toEqual(expect.arrayContaining(['S7', 'S9']));
    } finally {
      await nats.close();
    }
  });
});
