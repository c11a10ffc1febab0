import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readNkey } from '#keys';
import { KeyRing } from './key-ring';

const HOST = { hostId: 'h1' };

describe('a ring of keys', () => {
  let folder: string;
  let ring: KeyRing;
  beforeEach(() => {
    folder = join(mkdtempSync(join(tmpdir(), 'volley-ring-')), 'keys');
    ring = KeyRing.open(folder);
  });
  afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

  const users = () => [...readFileSync(ring.usersFile, 'utf8').matchAll(/nkey: (U\w+)/g)].map(([, key]) => key);
  const publicKey = () => readNkey(ring.seedFile(HOST)).publicKey;

  it('makes each key once, for its owner’s eyes alone, and tells the server the public half', () => {
    expect([ring.add(HOST, 1), ring.add(HOST, 2), ring.add('gateway', 3)]).toEqual([true, false, true]);
    expect(ring.records.map(({ name, createdAt }) => [name, createdAt])).toEqual([
      ['host-h1', 1],
      ['gateway', 3],
    ]);
    expect(users()).toEqual(ring.records.map((record) => record.publicKey));
    expect(users()[0]).toBe(publicKey());
    expect(readFileSync(join(folder, 'host-h1.pub'), 'utf8').trim()).toBe(publicKey());
    for (const file of readdirSync(folder)) expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    expect(readFileSync(ring.usersFile, 'utf8') + readFileSync(join(folder, 'ring.json'), 'utf8')).not.toMatch(
      /\bSU[A-Z2-7]{56}\b/,
    );
  });

  it('replaces a key: both are good until the overlap is over', () => {
    ring.add(HOST, 0);
    const old = publicKey();
    ring.rotate(HOST, 1_000, 10);
    expect(publicKey()).not.toBe(old);
    expect(users()).toEqual([old, publicKey()]);
    expect(ring.prune(1_009)).toBe(0);
    expect(ring.prune(1_010)).toBe(1);
    ring.save();
    expect(users()).toEqual([publicKey()]);
    expect(ring.add(HOST, 5)).toBe(false);
  });

  it('replaces at once what is suspected to be known to others', () => {
    ring.add(HOST, 0);
    ring.rotate(HOST, 0, 10);
    expect(users()).toEqual([publicKey()]);
  });

  it('removes every key of a party, the old ones too', () => {
    ring.add(HOST, 0);
    ring.add('gateway', 0);
    ring.rotate(HOST, 1_000, 10);
    ring.remove(HOST);
    expect(ring.records.map(({ name }) => name)).toEqual(['gateway']);
    expect(users()).toHaveLength(1);
    expect(readdirSync(folder).filter((file) => file.startsWith('host-'))).toEqual([]);
    expect(() => ring.remove(HOST)).toThrow('host-h1 has no key');
    expect(() => ring.rotate(HOST, 0, 0)).toThrow('volley keys add host-h1');
  });

  it('is the same when it is opened again; a seed that was moved away is not missed', () => {
    ring.add(HOST, 0);
    rmSync(ring.seedFile(HOST));
    const again = KeyRing.open(folder);
    expect(again.records).toEqual(ring.records);
    expect(again.add(HOST, 1)).toBe(false);
  });

  it('is not opened where others may enter, nor when its list is damaged', () => {
    writeFileSync(join(folder, 'ring.json'), '{"keys":[{"name":"root"}]}');
    expect(() => KeyRing.open(folder)).toThrow('is no list of keys');
    chmodSync(folder, 0o755);
    expect(() => KeyRing.open(folder)).toThrow(`run: chmod 700 ${folder}`);
  });
});
