import { runSuites } from './run-suites';
import { failed, passed, type Suite } from './suite';

/** Suites that note what happens, and end when the test says so. */
class Script {
  readonly notes: string[] = [];
  readonly #ends = new Map<string, () => void>();

  suite(name: string, more: Partial<Suite> = {}): Suite {
    return { name, summary: '', run: () => this.work(name).then(passed), ...more };
  }

  work(name: string): Promise<void> {
    this.notes.push(name);
    return new Promise((resolve) => this.#ends.set(name, resolve));
  }

  /** Ends some work, and gives what began then. */
  async end(name: string): Promise<string[]> {
    const before = this.notes.length;
    this.#ends.get(name)!();
    await new Promise(setImmediate);
    return this.notes.slice(before);
  }
}

describe('suites', () => {
  let script: Script;
  beforeEach(() => (script = new Script()));

  it('run one after the other, and beside them two that are patient', async () => {
    const suites = [
      ...['p1', 'p2', 'p3'].map((name) => script.suite(name, { patient: true })),
      ...['one', 'two'].map((name) => script.suite(name)),
    ];
    const begun: string[] = [];
    const all = runSuites(suites, ({ name }) => begun.push(name));
    await new Promise(setImmediate);
    expect(script.notes).toEqual(['p1', 'p2', 'one']);
    expect(await script.end('p2')).toEqual(['p3']);
    expect(await script.end('one')).toEqual(['two']);
    for (const name of ['two', 'p1', 'p3']) await script.end(name);
    expect((await all).map(({ name }) => name)).toEqual(['p1', 'p2', 'p3', 'one', 'two']);
    expect(begun).toEqual(['p1', 'p2', 'one', 'p3', 'two']);
  });

  it('begin when they are prepared, and have what measures run when nothing patient does', async () => {
    const measures = script.suite('measures', {
      run: async (alone) => {
        await script.work('first part');
        await alone();
        await script.work('alone');
        return passed();
      },
    });
    const built = script.suite('built', { prepare: () => script.work('build').then(() => undefined) });
    const all = runSuites([measures, built], () => undefined);
    await new Promise(setImmediate);
    expect(script.notes).toEqual(['build', 'first part']);
    expect(await script.end('first part')).toEqual([]);
    expect(await script.end('build')).toEqual(['alone']);
    expect(await script.end('alone')).toEqual(['built']);
    await script.end('built');
    expect((await all).every(({ outcome }) => outcome.tally.passed === 1)).toBe(true);
  });

  it('do not run when what they need could not be prepared, and the others do', async () => {
    const built = script.suite('built', { prepare: () => Promise.resolve(failed('the build', 'exit code 1')) });
    const all = runSuites([built, script.suite('one')], () => undefined);
    await new Promise(setImmediate);
    expect(script.notes).toEqual(['one']);
    await script.end('one');
    expect((await all).map(({ outcome }) => outcome.tally.failed)).toEqual([1, 0]);
  });

  it('fail together when one of them cannot even be run', async () => {
    const broken = script.suite('broken', { patient: true, run: () => Promise.reject(new Error('no disk')) });
    const all = runSuites([broken, script.suite('one')], () => undefined);
    const told = expect(all).rejects.toThrow('no disk');
    await new Promise(setImmediate);
    await script.end('one');
    await told;
  });
});
