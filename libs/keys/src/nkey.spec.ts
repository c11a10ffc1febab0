import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nkeys } from 'nats';
import { makeNkey, readNkey, SecretFileError } from '.';

describe('the file of a key', () => {
  const folder = mkdtempSync(join(tmpdir(), 'volley-nkey-'));
  const file = join(folder, 'a.nk');
  const write = (text: string, mode = 0o600): void => {
    writeFileSync(file, text);
    chmodSync(file, mode);
  };
  afterAll(() => rmSync(folder, { recursive: true }));

  it('gives the key that was made', () => {
    const key = makeNkey();
    write(`${key.seed}\n`);
    expect(readNkey(file)).toEqual(key);
    expect(key.seed).toMatch(/^SU[A-Z2-7]{56}$/);
    expect(key.publicKey).toMatch(/^U[A-Z2-7]{55}$/);
  });

  it.each([0o640, 0o604, 0o644, 0o620])('is refused with mode %o, with what to do', (mode) => {
    write(makeNkey().seed, mode);
    expect(() => readNkey(file)).toThrow(`run: chmod 600 ${file}`);
  });

  it.each([
    ['nothing', ''],
    ['a password', 'secret'],
    ['a public key', makeNkey().publicKey],
    ['a damaged seed', makeNkey().seed.slice(0, -1)],
    ['an account’s seed', new TextDecoder().decode(nkeys.createAccount().getSeed())],
  ])('is refused when it holds %s', (_, text) => {
    write(text);
    expect(() => readNkey(file)).toThrow(SecretFileError);
    expect(() => readNkey(file)).not.toThrow(text === '' ? 'xyz' : text); // a secret is never repeated
  });

  it('is refused when it is not there', () => {
    expect(() => readNkey(join(folder, 'none'))).toThrow('cannot be read');
  });
});
