import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { whatIf } from '../what-if';
import { AzureTrace } from './azure-trace';
import { GoogleTrace } from './google-trace';
import { traceHosts } from './trace-hosts';

const SAMPLES = join(__dirname, '../../../../docs/examples/traces');
const linesOf = (name: string): string[] => readFileSync(join(SAMPLES, name), 'utf8').trimEnd().split('\n');
const MACHINE = { cpus: 64, memoryMiB: 262_144 };

describe('an Azure trace', () => {
  it('has a claim for every VM, in cores and MiB, and its readings as what it used', () => {
    const trace = new AzureTrace();
    trace.takeVm('vm1,sub1,dep1,600,3600,99.1,12.5,80.0,Interactive,4,7');
    trace.takeVm('vm2,sub2,dep1,0,7200,99.1,12.5,80.0,Unknown,>24,>64');
    trace.takeReading('900,vm1,1.0,50.0,25.0');
    trace.takeReading('900,vm-of-another-file,1.0,50.0,25.0');
    const { claims, usage, end } = trace.claims();
    expect(claims).toMatchObject([
      {
        ...{ microvmId: 'vm1', askedAt: 600_000, ending: { kind: 'after', ms: 3_000_000 } },
        demand: { tenant: 'sub1', vcpus: 4, memoryMiB: 7_168 },
      },
      { microvmId: 'vm2', ending: { kind: 'open' }, demand: { vcpus: 24, memoryMiB: 65_536 } },
    ]);
    expect(usage).toMatchObject([{ from: 900_000, to: 1_200_000, microvms: [['vm1', 1, 1_000, 2_000, 0, 7_168]] }]);
    expect(end).toBe(7_200_000);
  });

  it.each([
    ['cut off', 'vm1,sub1,dep1,600', 'deleted (field 5) is ""'],
    ['no number', 'vm1,sub1,dep1,soon,3600,1,1,1,X,4,7', 'created (field 4) is "soon"'],
    ['ends before it begins', 'vm1,sub1,dep1,600,0,1,1,1,X,4,7', 'deleted before it was created'],
    ['no size', 'vm1,sub1,dep1,0,600,1,1,1,X,0,7', 'cores'],
  ])('counts a bad line and goes on: %s', (_, line, reason) => {
    const trace = new AzureTrace();
    trace.takeVm('vm0,sub1,dep1,600,3600,1,1,1,X,4,7');
    trace.takeVm(line);
    trace.takeVm('vm2,sub1,dep1,600,3600,1,1,1,X,4,7');
    expect(trace.table).toMatchObject({ lines: 3, bad: 1, examples: [{ line: 2 }] });
    expect(trace.table.examples[0]!.reason).toContain(reason);
    expect(trace.claims().claims).toHaveLength(2);
  });

  it('samples the same VMs of both files', () => {
    const trace = new AzureTrace(3);
    linesOf('synthetic-azure-vmtable.csv').forEach((line) => trace.takeVm(line));
    linesOf('synthetic-azure-cpu-readings.csv').forEach((line) => trace.takeReading(line));
    const { claims, usage } = trace.claims();
    expect(claims.length).toBeGreaterThan(20);
    expect(claims.length).toBeLessThan(60);
    const ids = new Set(claims.map(({ microvmId }) => microvmId));
    for (const { microvms } of usage) for (const [id] of microvms) expect(ids.has(id)).toBe(true);
  });
});

describe('a trace of Google', () => {
  it('has a claim from each schedule to the event that ends it', () => {
    const trace = new GoogleTrace(MACHINE);
    const row = (time: number, event: number): string => `${time},,42,7,99,${event},user-a,1,9,0.125,0.03125,0.0001,0`;
    [row(1_000_000, 0), row(2_000_000, 1), row(5_000_000, 2), row(6_000_000, 0), row(7_000_000, 1)].forEach((line) =>
      trace.take(line),
    );
    const { claims, end } = trace.claims();
    expect(claims).toMatchObject([
      {
        askedAt: 2_000,
        ending: { kind: 'after', ms: 3_000 },
        demand: { tenant: 'user-a', vcpus: 8, memoryMiB: 8_192 },
      },
      { askedAt: 7_000, ending: { kind: 'open' } },
    ]);
    expect(new Set(claims.map(({ microvmId }) => microvmId)).size).toBe(2);
    expect(end).toBe(7_000);
  });

  it('gives the same claims from both forms, but for who asked', () => {
    const read = (name: string) => {
      const trace = new GoogleTrace(MACHINE);
      linesOf(name).forEach((line) => trace.take(line));
      expect(trace.events.bad).toBe(0);
      return trace
        .claims()
        .claims.map(({ askedAt, ending, demand: { vcpus, memoryMiB } }) => ({ askedAt, ending, vcpus, memoryMiB }));
    };
    const of2011 = read('synthetic-google-task-events.csv');
    expect(of2011.length).toBeGreaterThan(100);
    expect(read('synthetic-google-instance-events.csv')).toEqual(of2011);
  });

  it('counts what is no row, and refuses a header in which something is missing', () => {
    const trace = new GoogleTrace(MACHINE);
    trace.take('what is this');
    trace.take('1,,42,7,99,1,user-a,1,9,,0.03,0,0');
    expect(trace.events).toMatchObject({ lines: 2, bad: 2 });
    expect(() => new GoogleTrace(MACHINE).take('time,type,collection_id')).toThrow('the header has no instance_index');
  });
});

describe('a what-if on a trace', () => {
  it('refuses less with a higher ratio, and the oracle knows from the readings how far it may go', () => {
    const trace = new AzureTrace();
    linesOf('synthetic-azure-vmtable.csv').forEach((line) => trace.takeVm(line));
    linesOf('synthetic-azure-cpu-readings.csv').forEach((line) => trace.takeReading(line));
    const { claims, usage, end } = trace.claims();
    claims.sort((a, b) => a.askedAt - b.askedAt);
    const load = {
      from: 0,
      to: end,
      claims,
      usage,
      hosts: traceHosts(3, { cpus: 16, memoryMiB: 1_048_576 }),
      compacted: 0,
    };
    const question = { from: 0, to: end, runs: 3, reportIntervalMs: 1_000 };
    const { base, alternatives, oracle } = whatIf(load, { ...question, alternatives: [{ cpuRatio: 2 }] });
    expect(base.asked.median).toBe(120);
    expect(base.refused.median).toBeGreaterThan(20);
    expect(alternatives[0]!.refused.max).toBeLessThan(base.refused.min);
    expect(base.contention!.cpuTime.max).toBe(0);
    expect(oracle!.refused.max).toBeLessThan(base.refused.min);
    expect(oracle!.contention!.cpuTime.max).toBe(0);
  });
});
