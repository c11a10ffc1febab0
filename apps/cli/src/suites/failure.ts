import { stripVTControlCharacters } from 'node:util';

/** A test that failed, or a whole suite that could not run. */
export interface Failure {
  /** Full name, with the file before it where the runner knows one. */
  test: string;
  /** What the runner says about it, of any length. */
  message: string;
}

const MOST_LINES = 8;
const MOST_CHARACTERS = 240;

/**
 * Every failure once more with the first lines of its message, for the end of a long run: of that, people and machines often see
 * nothing but the beginning and the end.
 */
export function recap(suites: readonly { name: string; failures: readonly Failure[] }[]): string[] {
  return suites.flatMap(({ name, failures }) =>
    failures.flatMap(({ test, message }) => [
      `FAILED ${name}: ${test}`,
      ...firstLines(message).map((line) => `    ${line}`),
    ]),
  );
}

/** Without colours, empty lines and the stack, but for the first place in it that is ours. */
function firstLines(message: string): string[] {
  const lines = stripVTControlCharacters(message)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const isPlace = (line: string): boolean => /^at .+:\d+\)?$/.test(line);
  const said = lines.filter((line) => !isPlace(line)).slice(0, MOST_LINES);
  const place = lines.find((line) => isPlace(line) && !/node_modules|node:/.test(line));
  return [...said, ...(place === undefined ? [] : [place])].map((line) =>
    line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS)}…` : line,
  );
}
