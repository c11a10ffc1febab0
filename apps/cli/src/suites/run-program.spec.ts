import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './run-program';

describe('a program that is run', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'volley-run-program-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const sh = (script: string, patient?: true) =>
    runProgram({
      ...{ command: 'sh', args: ['-c', script], cwd: folder, outputFile: join(folder, 'said'), deadlineMs: 60_000 },
      ...(patient ? { patient } : {}),
    });
  const said = (): string => readFileSync(join(folder, 'said'), 'utf8').trim();

  it('gives its exit code, or what ended it', async () => {
    expect(await sh('exit 3')).toBe(3);
    expect(await sh('kill -9 $$')).toBe('killed by SIGKILL');
  });

  it('takes processor time like any other, or as much as all others leave', async () => {
    await sh('nice');
    expect(Number(said())).toBe(getPriority());
    await sh('nice', true);
    expect(said()).toBe('19');
  });

  (existsSync('/proc/self/autogroup') ? it : it.skip)(
    'has a session that gives way to others when it is patient',
    async () => {
      expect(await sh('until grep -q "nice 19" /proc/self/autogroup; do sleep 0.01; done', true)).toBe(0);
    },
  );
});
