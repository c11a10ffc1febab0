import { execFileSync } from 'node:child_process';
import { shellCommand, shellEnvironment } from './shell-environment';

const ODD = `it's $HOME "and" \`date\` \\ ; rm *\nsecond line`;
const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8', timeout: 60_000 });

it('gives a shell exactly the text, whatever is in it', () => {
  expect(shell(`${shellEnvironment({ ODD, PLAIN: 'x' })}printf '%s|%s' "$ODD" "$PLAIN"`)).toBe(`${ODD}|x`);
});

it('runs a program with exactly these arguments, where it was told to', () => {
  const script = shellCommand(['sh', '-c', 'printf "%s|" "$@" "$ODD"; pwd', 'name', ODD, ''], '/usr', { ODD });
  expect(shell(script)).toBe(`${ODD}||${ODD}|/usr\n`);
});
