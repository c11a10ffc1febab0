import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pack, type Header } from 'tar-stream';
import { CliError } from '../errors';
import { parsePlace } from './copy-place';
import { packLocal } from './pack-local';
import { unpackLocal } from './unpack-local';

describe('the sides of a copy', () => {
  it.each([
    ['-', { kind: 'stream' }],
    ['web:/srv', { kind: 'guest', name: 'web', path: '/srv' }],
    ['web:/a:b', { kind: 'guest', name: 'web', path: '/a:b' }],
    ['./a:b', { kind: 'local', path: './a:b' }],
    ['/a', { kind: 'local', path: '/a' }],
    [':/a', { kind: 'local', path: ':/a' }],
  ])('reads %s', (text, place) => expect(parsePlace(text)).toEqual(place));

  it('wants absolute paths in a guest', () => {
    expect(() => parsePlace('web:srv')).toThrow('web:/srv');
  });
});

describe('archives of a copy', () => {
  let folder: string;
  const at = (name: string): string => join(folder, name);
  beforeEach(() => (folder = fs.mkdtempSync(join(tmpdir(), 'volley-copy-'))));
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  const unpack = (target: string, ...entries: [Partial<Header> & { name: string }, string?][]): Promise<void> => {
    const archive = pack();
    for (const [header, content] of entries) archive.entry(header, content ?? '');
    archive.finalize();
    return unpackLocal(Readable.from(archive, { objectMode: false }), target);
  };

  it('come out as they went in', async () => {
    fs.mkdirSync(at('from/deep'), { recursive: true });
    fs.writeFileSync(at('from/deep/tool'), '#!/bin/sh', { mode: 0o755 });
    fs.writeFileSync(at('from/empty'), '');
    fs.writeFileSync(at('from/big'), Buffer.alloc(1_000_000, 'b'));
    fs.symlinkSync('../outside', at('from/link'));
    fs.mkdirSync(at('to'));
    await unpackLocal(await packLocal(at('from')), at('to'));
    execFileSync('diff', ['-r', '--no-dereference', at('from'), at('to/from')]);
    expect(fs.statSync(at('to/from/deep/tool')).mode & 0o777).toBe(0o755);
    // Under a name of its own.
    await unpackLocal(await packLocal(`${at('from')}/`), at('other'));
    execFileSync('diff', ['-r', '--no-dereference', at('from'), at('other')]);
    await unpackLocal(await packLocal(at('from/empty')), at('file'));
    expect(fs.readFileSync(at('file'), 'utf8')).toBe('');
  });

  it('belong to root in the guest, and are not there when the file is not', async () => {
    fs.writeFileSync(at('file'), 'x');
    const parts: Buffer[] = [];
    for await (const part of await packLocal(at('file'))) parts.push(part as Buffer);
    const listing = execFileSync('tar', ['--numeric-owner', '-tvf', '-'], { input: Buffer.concat(parts) }).toString();
    expect(listing).toMatch(/^-rw\S+ 0\/0 .* file\n$/);
    await expect(packLocal(at('nothing'))).rejects.toThrow(CliError);
  });

  it('of a hostile guest write nothing elsewhere', async () => {
    fs.mkdirSync(at('target'));
    fs.mkdirSync(at('outside'));
    fs.writeFileSync(at('victim'), 'untouched');
    fs.symlinkSync('../outside', at('target/was-there'));
    const link = (name: string, linkname: string): [Partial<Header> & { name: string }] => [
      { name, type: 'symlink', linkname },
    ];
    for (const entries of [
      [[{ name: '../escaped' }, 'x']],
      [[{ name: at('escaped') }, 'x']],
      [[{ name: 'a/../../escaped' }, 'x']],
      [[{ name: 'was-there/escaped' }, 'x']],
      [link('a', '..'), [{ name: 'a/escaped' }, 'x']],
      [link('a', at('outside')), [{ name: 'a/escaped' }, 'x']],
      [link('a', at('outside')), [{ name: 'a/b/escaped' }, 'x']],
      [[{ name: 'hard', type: 'link', linkname: at('victim') }]],
      [[{ name: 'dev', type: 'character-device', devmajor: 1, devminor: 3 }]],
    ] as [Partial<Header> & { name: string }, string?][][]) {
      await expect(unpack(at('target'), ...entries)).rejects.toThrow(CliError);
    }
    await unpack(at('target'), link('file', '../victim'), [{ name: 'file' }, 'fresh']);
    expect(fs.readFileSync(at('target/file'), 'utf8')).toBe('fresh');
    expect(fs.readFileSync(at('victim'), 'utf8')).toBe('untouched');
    expect(fs.readdirSync(at('outside'))).toEqual([]);
    expect(fs.readdirSync(folder).sort()).toEqual(['outside', 'target', 'victim']);
    // No program gets the rights of somebody else.
    await unpack(at('target'), [{ name: 'suid', mode: 0o4755 }, 'x']);
    expect(fs.statSync(at('target/suid')).mode & 0o7777).toBe(0o755);
  });

  it('that end too early are an error', async () => {
    const archive = pack();
    const entry = archive.entry({ name: 'file', size: 1_000 });
    entry.on('error', () => undefined);
    entry.write('only this');
    const tar = Readable.from(archive, { objectMode: false });
    const unpacking = unpackLocal(tar, at('file'));
    setImmediate(() => archive.destroy(new Error('the guest has ended')));
    await expect(unpacking).rejects.toThrow();
  });
});
