import type { Contender } from './contender';
import { GUEST_ADDRESS, HOST_ADDRESS } from './guest';
import { NoResultError, type Figure, type Figures } from './measured';

/** A measurement that the canary with drivers does on one word of its command line. */
interface CanaryWord {
  name: string;
  word: string;
  /** Bytes of one operation, if it moves any. */
  bytes?: number;
  /** One at a time: the time of one operation is worth telling. */
  alone: boolean;
}

const disk = (kind: 'reads' | 'writes', name: string, count: number, bytes: number, depth: number): CanaryWord => ({
  name,
  word: `${kind}=0,${count},${bytes},${depth}`,
  bytes,
  alone: depth === 1,
});

/** Each word is done in well under a second; all of them, as often as there are rounds. */
const WORDS: Record<'io' | 'net', readonly CanaryWord[]> = {
  io: [
    disk('writes', 'write-16k', 1_000, 16_384, 4),
    disk('reads', 'read-16k', 1_000, 16_384, 4),
    disk('reads', 'read-4k', 1_000, 4_096, 1),
    disk('writes', 'write-4k', 1_000, 4_096, 1),
    disk('reads', 'read-4k-16-deep', 1_000, 4_096, 16),
    disk('writes', 'write-4k-16-deep', 1_000, 4_096, 16),
  ],
  net: [
    { name: 'ping', word: `ping=${HOST_ADDRESS},200`, alone: true },
    { name: 'udp-send', word: `udp=${HOST_ADDRESS}:9,1000,1400`, bytes: 1_400, alone: false },
  ],
};

/** Our VMM with a canary: the one guest with drivers that boots on software KVM. */
export function canaryContender(bench: 'io' | 'net'): Contender {
  const words = [
    ...(bench === 'net' ? [`net=${GUEST_ADDRESS}/30`] : []),
    ...WORDS[bench].map(({ word }) => word),
    'exit=poweroff',
  ];
  return {
    name: 'volley-canary',
    argv: ({ vmm, run, kernel, disk: measured }, { lifetimeS, tap }) => [
      ...[run, '--vmm', vmm, '--kernel', kernel, '--protocol', 'flat', '--memory', '16', '--cmdline', words.join(' ')],
      ...(bench === 'io' ? ['--disk', measured] : []),
      ...(tap === undefined ? [] : ['--tap', tap]),
      ...['--timeout', String(lifetimeS)],
    ],
  };
}

/** What it printed. @throws NoResultError when a word has no answer, or an error for one. */
export function canaryFigures(bench: 'io' | 'net', console: string): Figures {
  const answers = [...console.matchAll(/^canary: (reads|writes|ping|udp) 0 (ok|error) (.*?)\r*$/gm)];
  return Object.fromEntries(
    WORDS[bench].map(({ name, word, bytes, alone }, index) => {
      const [, kind, state, rest = ''] = answers[index] ?? [];
      const number = (key: string): number => Number(new RegExp(`\\b${key}=(\\d+)`).exec(rest)?.[1]);
      const [count, us] = [number('count'), number('us')];
      if (kind !== word.split('=')[0] || state !== 'ok' || !(us > 0)) {
        throw new NoResultError(`the canary did not answer ${word}`, console);
      }
      const figure: Figure = {
        ...(bytes === undefined ? {} : { bytesPerSecond: (count * bytes * 1e6) / us }),
        operationsPerSecond: (count * 1e6) / us,
        ...(alone ? { mean: us / count } : {}),
      };
      return [name, figure];
    }),
  );
}
