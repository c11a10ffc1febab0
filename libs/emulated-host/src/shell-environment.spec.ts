import { execFileSync } from 'node:child_process';
import { shellEnvironment } from './shell-environment';

it('gives a shell exactly the text, whatever is in it', () => {
  const odd = `it's $HOME "and" \`date\` \\ ; rm *\nsecond line`;
  const script = `${shellEnvironment({ ODD: odd, PLAIN: 'x' })}printf '%s|%s' "$ODD" "$PLAIN"`;
  expect(execFileSync('sh', ['-c', script], { encoding: 'utf8', timeout: 60_000 })).toBe(`${odd}|x`);
});
