import type { SuiteOutcome } from './suite';

/** Of the JUnit file that ctest writes: one testsuite with its counts and its cases. `ended`: the exit code of ctest, or what ended it. */
export function junitOutcome(xml: string, ended: number | string): SuiteOutcome | undefined {
  const suite = /<testsuite\b[^>]*>/.exec(xml)?.[0];
  if (suite === undefined) return undefined;
  const count = (name: string): number => Number(attribute(suite, name) ?? 0);
  const skipped = count('skipped') + count('disabled');
  const cases = xml.match(/<testcase\b[^>]*[^/]>[\s\S]*?<\/testcase>/g) ?? [];
  const failures = cases
    .filter((one) => /<(failure|error)\b/.test(one))
    .map((one) => ({
      test: text(attribute(one, 'name') ?? ''),
      // The end of what it printed tells more than the beginning, which is the tests that passed.
      message: text(/<system-out>([\s\S]*?)<\/system-out>/.exec(one)?.[1] ?? '')
        .trimEnd()
        .split('\n')
        .slice(-8)
        .join('\n'),
    }));
  if (ended !== 0 && failures.length === 0) {
    failures.push({ test: 'ctest', message: `it ended with ${ended} although no test failed` });
  }
  const failed = failures.length;
  return { tally: { passed: count('tests') - skipped - failed, failed, skipped }, files: [], failures, notes: [] };
}

function attribute(element: string, name: string): string | undefined {
  return new RegExp(`\\b${name}="([^"]*)"`).exec(element)?.[1];
}

function text(escaped: string): string {
  const characters: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return escaped.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => characters[name]!);
}
