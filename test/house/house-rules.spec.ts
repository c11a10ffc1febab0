import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** The linter must catch each of these, planted in the text of a file that exists. */
const VIOLATIONS: [what: string, file: string, text: string, rule: string][] = [
  [
    'an app imports an app',
    'apps/gateway/src/main.ts',
    "import '../../controller/src/controller.module';",
    'import-x/no-restricted-paths',
  ],
  [
    'an app imports an app, by a re-export',
    'apps/placement/src/main.ts',
    "export * from '../../hostd/src/main';",
    'import-x/no-restricted-paths',
  ],
  [
    'a library imports an app',
    'libs/fleet/src/index.ts',
    "import '../../../apps/hostd/src/main';",
    'import-x/no-restricted-paths',
  ],
  [
    'a library is imported by its path',
    'apps/hostd/src/main.ts',
    "import '../../../libs/protocol/src/index';",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'a cycle',
    'apps/cli/src/exit-code.ts',
    "import { CliError } from './errors';\nexport const ExitCode = { failed: 1 };\nexport const made = new CliError('x');",
    'import-x/no-cycle',
  ],
  [
    'I/O in a pure library',
    'libs/lifecycle/src/index.ts',
    "import { readFileSync } from 'node:fs';\nexport const text = readFileSync('x');",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'I/O in a pure library, without the prefix',
    'libs/scheduling/src/index.ts',
    "import { readFileSync } from 'fs';\nexport const text = readFileSync('x');",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'a pure library imports one that is not',
    'libs/protocol/src/index.ts',
    "export * from '#journal';",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'the clock in a pure library',
    'libs/lifecycle/src/index.ts',
    'export const now = () => Date.now();',
    'no-restricted-syntax',
  ],
  [
    'the clock in a pure library, as a date',
    'libs/protocol/src/index.ts',
    'export const now = () => new Date();',
    'no-restricted-syntax',
  ],
  [
    'chance in a pure library',
    'libs/scheduling/src/index.ts',
    'export const any = () => Math.random();',
    'no-restricted-syntax',
  ],
  [
    'a timer in a pure library',
    'libs/lifecycle/src/index.ts',
    'export const t = setTimeout(() => undefined, 1);',
    'no-restricted-globals',
  ],
  [
    'the environment in a pure library',
    'libs/protocol/src/index.ts',
    'export const env = process.env;',
    'no-restricted-globals',
  ],
  [
    'xstate outside libs/lifecycle',
    'apps/controller/src/main.ts',
    "import { createActor } from 'xstate';\nexport { createActor };",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'xstate in another pure library',
    'libs/protocol/src/index.ts',
    "export * from 'xstate';",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'NATS in an app',
    'apps/hostd/src/main.ts',
    "import { connect } from 'nats';\nexport { connect };",
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'JetStream in an app',
    'apps/gateway/src/main.ts',
    "import { jetstream } from '@nats-io/jetstream';\nexport { jetstream };",
    '@typescript-eslint/no-restricted-imports',
  ],
];

/** And must not mind these. */
const FINE: [what: string, file: string, text: string][] = [
  ['an app imports libraries', 'apps/hostd/src/main.ts', "export * from '#protocol';\nexport * from '#bus';"],
  [
    'pure libraries import each other',
    'libs/lifecycle/src/index.ts',
    "export * from '#protocol';\nexport { assign } from 'xstate';",
  ],
  [
    'a given time becomes a date',
    'libs/protocol/src/index.ts',
    'export const text = (at: number) => new Date(at).toISOString();',
  ],
  [
    'libs/journal holds the connection',
    'libs/journal/src/index.ts',
    "import { connect } from 'nats';\nexport { connect };",
  ],
  [
    'an app knows the type of a connection',
    'apps/controller/src/main.ts',
    "import type { NatsConnection } from 'nats';\nexport type C = NatsConnection;",
  ],
  [
    'a test reads files',
    'libs/lifecycle/src/microvm/microvm.machine.spec.ts',
    "import { readFileSync } from 'node:fs';\nexport const text = readFileSync('x');",
  ],
];

let found: string[][];

beforeAll(() => {
  const input = [...VIOLATIONS, ...FINE].map(([, file, text]) => ({ file, text: `${text}\n` }));
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(__dirname, 'lint-planted.mjs')], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (status !== 0) throw new Error(`the linter failed: ${stderr}`);
  found = JSON.parse(stdout) as string[][];
}, 150_000);

it.each(VIOLATIONS.map(([what, , , rule], i) => [what, rule, i] as const))('catches: %s', (_what, rule, i) => {
  expect(found[i]).toContain(rule);
});

it.each(FINE.map(([what], i) => [what, i] as const))('allows: %s', (_what, i) => {
  expect(found[VIOLATIONS.length + i]).toEqual([]);
});
