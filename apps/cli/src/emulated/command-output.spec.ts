import { CommandOutput } from './command-output';

describe('what a command printed on the console of an emulated host', () => {
  const CONSOLE =
    'boot noise\r\nvolley-host: the mirror stands\r\n%s\nvolley-host: script ended with status 3\n[ 1.2] reboot: Power down\n';
  const taken = (said: string, piece: number): string => {
    const output = new CommandOutput();
    const text = CONSOLE.replace('%s', said);
    let all = '';
    for (let at = 0; at < text.length; at += piece) all += output.take(text.slice(at, at + piece));
    return all;
  };

  it.each([1, 2, 7, 1_000])('is found whole, in pieces of %i characters', (piece) => {
    for (const said of ['', 'one', 'one\ntwo\n', '\n\n', 'no end\nof line', 'volley-host: script, not ended\n']) {
      expect(taken(said, piece)).toBe(said);
    }
  });

  it('comes as soon as the next line begins', () => {
    const output = new CommandOutput();
    expect(output.take('volley-host: the mirror stands\nfirst\nsec')).toBe('first');
    expect(output.take('ond\nthird')).toBe('\nsecond');
  });
});
