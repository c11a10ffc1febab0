import pino from 'pino';
import { MicrovmSpec } from '#protocol';
import { emptyHostState, foldRecord } from '../journal/host-state';
import { slotOf } from '../slots/slot-layout';
import { Ledger, type LedgerParts } from './ledger';

const slot = (number: number) => slotOf(number, { uidBase: 200_000, pool: { base: 0x64400000, prefix: 16 } });

describe('the ledger', () => {
  const state = emptyHostState();
  const admitted = {
    type: 'admitted' as const,
    epoch: 1,
    spec: MicrovmSpec.parse({ image: 'canary' }),
    receivedAt: 1,
    admittedAt: 1,
  };
  foldRecord(state, { at: 1, change: { ...admitted, microvmId: 'alive', slot: 3 } });
  foldRecord(state, { at: 1, change: { ...admitted, microvmId: 'erased', slot: 4 } });
  foldRecord(state, { at: 1, change: { type: 'gone', microvmId: 'erased', epoch: 1 } });

  const none = { strayTaps: [], missingTaps: [], strayPolicies: [], missingPolicies: [] };
  const make = (more: {
    held?: number[];
    busy?: number[];
    cgroups?: Record<string, number[]>;
    scan?: object;
    disks?: string[];
    memory?: string[];
  }) => {
    const done: string[] = [];
    const parts: LedgerParts = {
      state,
      size: 10,
      slots: {
        held: () => more.held ?? [3],
        isIdle: (number) => !(more.busy ?? [3]).includes(number),
        giveBack: ({ number }) => void done.push(`give ${number}`),
        slot,
      },
      cgroups: {
        list: () => Object.keys(more.cgroups ?? {}),
        processesOf: ({ cgroup }) => more.cgroups?.[cgroup] ?? [],
        remove: ({ cgroup }) => void done.push(`rmdir ${cgroup}`),
      },
      fabric: {
        scan: () => Promise.resolve({ ...none, ...more.scan }),
        repair: (stray, missing) => Promise.resolve(void done.push(`repair ${stray.join()} ${missing.join()}`)),
        relay: () => Promise.resolve(void done.push('relay')),
      },
      suspensions: { list: () => more.memory ?? [] },
      disks: { list: () => more.disks ?? [], remove: (id) => Promise.resolve(void done.push(`rm ${id}`)) },
      log: pino({ level: 'silent' }),
      kill: (pid) => void done.push(`kill ${pid}`),
    };
    return { ledger: new Ledger(parts), done };
  };

  it('finds nothing where all is well', async () => {
    const { ledger, done } = make({ cgroups: { s3: [77], s5: [] }, disks: ['alive'] });
    expect(await ledger.audit()).toEqual([]);
    expect(done).toEqual([]);
    expect(ledger.found).toBe(0);
  });

  it('gives back a slot that is held for nobody', async () => {
    const { ledger, done } = make({ held: [3, 4] });
    expect(await ledger.audit()).toMatchObject([{ kind: 'slot', name: '4' }]);
    expect(done).toEqual(['give 4']);
  });

  it('ends what runs in a free slot, and removes cgroups of slots that are no longer offered', async () => {
    const { ledger, done } = make({ cgroups: { s3: [1], s4: [2, 3], s12: [], other: [9] } });
    expect(await ledger.audit()).toMatchObject([
      { kind: 'process', name: '2' },
      { kind: 'process', name: '3' },
      { kind: 'cgroup', name: 's12' },
    ]);
    expect(done).toEqual(['kill 2', 'kill 3', 'rmdir s12']);
  });

  it('puts taps and packet filter right', async () => {
    const { ledger, done } = make({
      scan: { strayTaps: ['vt9'], missingTaps: ['vt1'], missingPolicies: ['policy_3'] },
    });
    expect((await ledger.audit()).map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      'tap vt9',
      'tap vt1',
      'packetFilter policy_3',
    ]);
    expect(done).toEqual(['repair vt9 vt1', 'relay']);
  });

  it('names memory of suspended microVMs that nobody knows, and leaves it alone', async () => {
    const { ledger, done } = make({ memory: ['alive', 'unknown'] });
    expect(await ledger.audit()).toMatchObject([{ kind: 'memory', name: 'unknown', reclaimed: false }]);
    expect(done).toEqual([]);
  });

  it('removes disks of what was erased, and leaves alone and names once what nobody knows', async () => {
    const { ledger, done } = make({ disks: ['alive', 'erased', 'unknown'] });
    expect(await ledger.audit()).toMatchObject([
      { kind: 'disk', name: 'erased', reclaimed: true },
      { kind: 'disk', name: 'unknown', reclaimed: false },
    ]);
    expect(done).toEqual(['rm erased']);
    const before = ledger.found;
    expect(before).toBe(2);
    await ledger.audit();
    expect(ledger.found).toBe(3); // the erased one is still listed here, the unknown one is not counted again
  });
});
