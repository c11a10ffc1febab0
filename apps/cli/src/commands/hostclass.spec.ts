import { settingsOf } from './hostclass.command';
import { hostHistoryTable } from './host-history';

it('makes a fixed ratio of options, and says what is missing', () => {
  expect(settingsOf({ cpu: 8, memory: 2 })).toEqual({ policy: { kind: 'fixedRatio', cpu: 8, memory: 2 } });
  expect(settingsOf({ cpu: 8, memory: 2, guaranteedCpu: 4, guaranteedMemory: 1 })).toMatchObject({
    guaranteed: { cpu: 4, memory: 1 },
  });
  expect(() => settingsOf({ cpu: 8 })).toThrow('--cpu and --memory');
  expect(() => settingsOf({ cpu: 8, memory: 2, guaranteedCpu: 4 })).toThrow('--guaranteed-memory');
  expect(() => settingsOf({ policy: '/dev/null', cpu: 8 })).toThrow('either --policy or ratios');
  expect(() => settingsOf({ policy: '/dev/null' })).toThrow('/dev/null is no JSON');
});

it('tells each act of the guards with its figures', () => {
  const reading = {
    ...{ cpuPressure: null, memoryPressure: null, vcpuWait: null },
    ...{ availableMemory: 7, availableMiB: 70, usableMiB: 1_000 },
  };
  const text = hostHistoryTable({
    id: 'host-a',
    more: true,
    entries: [
      {
        ...{ sequence: 9, at: '2026-01-31T03:12:00.000Z', commandId: 'c', from: 'ready', to: 'ready' },
        cause: { kind: 'host', by: 'host-a' },
        events: [
          {
            ...{ type: 'guardsActed', batch: 'b', omitted: 3 },
            acts: [
              {
                ...{ act: 'admission', at: 1, class: 'bestEffort', open: false, afterMs: 0, reading },
                reason: 'available memory 7 % is below 12 %',
              },
              {
                ...{ act: 'reclaim', at: 2, microvmId: 'vm-a', step: 'balloon', mib: 300, reading },
                reason: 'idle for 9 s',
              },
              { act: 'poolsGivenUp', at: 3, clones: 32, reason: 'available memory 14 % is below 15 %', reading },
            ],
          },
        ],
      },
    ],
  });
  expect(text).toContain('admission of bestEffort shuts: available memory 7 % is below 12 %');
  expect(text).toContain('balloon vm-a, to 300 MiB: idle for 9 s (70 of 1000 MiB available)');
  expect(text).toContain('clones waiting in pools given up: 32; available memory 14 % is below 15 %');
  expect(text).toContain('3 more acts');
  expect(text).toContain('earlier entries');
});
