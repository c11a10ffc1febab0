import { readCharged, readThrottling } from './control-group';

const proc = (files: Record<string, string>) => ({ read: (path: string) => files[path], list: () => [] });

describe('what a cgroup is charged', () => {
  it('is read from v1, all below it included', () => {
    const files = {
      '/m/memory.stat': 'rss 0\ntotal_cache 4096\ntotal_rss 2097152\n',
      '/m/memory.kmem.usage_in_bytes': '1048576\n',
    };
    const group = { memory: { version: 1 as const, directory: '/m' } };
    expect(readCharged(proc(files), group)).toEqual({ anonymousKiB: 2_048, kernelKiB: 1_024 });
    expect(readCharged(proc({}), group)).toBeUndefined();
    expect(readCharged(proc(files), {})).toBeUndefined();
  });

  it('is read from v2, where stacks are vmalloc pages and count once', () => {
    const stat = 'anon 2097152\nkernel 1048576\nkernel_stack 65536\npagetables 131072\nvmalloc 98304\nslab 524288\n';
    const group = { memory: { version: 2 as const, directory: '/u' } };
    expect(readCharged(proc({ '/u/memory.stat': stat }), group)).toEqual({
      ...{ anonymousKiB: 2_048, kernelKiB: 1_024, countedKernelKiB: 128 + 96 + 512 },
    });
    // Before Linux 5.18 there is no sum.
    expect(readCharged(proc({ '/u/memory.stat': 'anon 0\nslab 524288\n' }), group)?.kernelKiB).toBe(512);
  });
});

it('tells how long a CPU limit held something back', () => {
  const v1 = { cpu: { version: 1 as const, directory: '/c' } };
  const v2 = { cpu: { version: 2 as const, directory: '/c' } };
  const text = 'nr_periods 10\nnr_throttled 4\n';
  expect(readThrottling(proc({ '/c/cpu.stat': `${text}throttled_time 7000000\n` }), v1)).toEqual({ periods: 4, ms: 7 });
  expect(readThrottling(proc({ '/c/cpu.stat': `${text}throttled_usec 7000\n` }), v2)).toEqual({ periods: 4, ms: 7 });
  expect(readThrottling(proc({ '/c/cpu.stat': 'usage_usec 1\n' }), v2)).toBeUndefined();
  expect(readThrottling(proc({}), {})).toBeUndefined();
});
