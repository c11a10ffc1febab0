import type { Violation } from './violation';

/**
 * S6: a canary that was told to look for the traces of others says on its console what it found. One that said nothing (it was never
 * started, or not for long enough) proves nothing and is no violation.
 */
export function checkConsoles(consoles: ReadonlyMap<string, string>): Violation[] {
  return [...consoles].flatMap(([id, text]) => {
    const found = /^canary: (zeros|clean) .*(reason=differs|foreign).*$/m.exec(text)?.[0];
    return found === undefined
      ? []
      : [{ rule: 'S6', subject: id, detail: `found what others had left: ${found.trim()}` }];
  });
}
