import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BuiltFiles } from './built-files';

describe('files of the build', () => {
  let folder: string;
  let file: string;
  const build = (content: string): void => {
    writeFileSync(file, content);
    writeFileSync(`${file}.sha256`, `${createHash('sha256').update(content).digest('hex')}  -\n`);
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-built-'));
    file = join(folder, 'kernel');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('are whole as they were built, and as they are built again', () => {
    const files = new BuiltFiles();
    build('one');
    expect(files.damageOf(file)).toBeUndefined();
    build('another');
    expect(files.damageOf(file)).toBeUndefined();
  });

  it('are told when they were changed, also after they were found whole', () => {
    const files = new BuiltFiles();
    build('one');
    expect(files.damageOf(file)).toBeUndefined();
    writeFileSync(file, 'onf');
    for (const _ of [1, 2])
      expect(files.damageOf(file)).toMatch(/kernel is damaged: .*built as sha256:.*volley build$/);
    writeFileSync(file, 'one');
    expect(files.damageOf(file)).toBeUndefined();
  });

  it('are taken as they are without a digest, and missing ones told', () => {
    writeFileSync(file, 'own');
    expect(new BuiltFiles().damageOf(file)).toBeUndefined();
    mkdirSync(`${file}.sha256`);
    expect(new BuiltFiles().damageOf(file)).toMatch(/cannot be read.*; build it anew/);
    rmSync(file);
    expect(new BuiltFiles().damageOf(file)).toMatch(/kernel cannot be read \(.*volley build$/);
  });
});
