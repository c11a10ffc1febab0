import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperatorToken, TokenFileError } from './operator-token';

describe('OperatorToken', () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'volley-token-'));
    file = join(folder, 'operator.token');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const write = async (text: string, mode: number) => {
    await writeFile(file, text);
    await chmod(file, mode);
  };

  it('knows its token and no other', async () => {
    await write('0123456789abcdef\n', 0o600);
    const token = await OperatorToken.fromFile(file);
    expect(token.matches('0123456789abcdef')).toBe(true);
    for (const wrong of ['', '0123456789abcde', '0123456789abcdef\n', '0123456789abcdeF']) {
      expect(token.matches(wrong)).toBe(false);
    }
  });

  it.each([0o604, 0o640, 0o644, 0o777, 0o660])('refuses mode %o and says what to do', async (mode) => {
    await write('0123456789abcdef', mode);
    await expect(OperatorToken.fromFile(file)).rejects.toThrow(/chmod 600/);
  });

  it('accepts a file that is even stricter', async () => {
    await write('0123456789abcdef', 0o400);
    await expect(OperatorToken.fromFile(file)).resolves.toBeInstanceOf(OperatorToken);
  });

  it.each(['', 'short', 'two words of a length', 'x'.repeat(513)])('refuses the token %j', async (text) => {
    await write(text, 0o600);
    await expect(OperatorToken.fromFile(file)).rejects.toThrow(TokenFileError);
  });

  it('says which file is missing', async () => {
    await expect(OperatorToken.fromFile(join(folder, 'none'))).rejects.toThrow(/none/);
  });
});
