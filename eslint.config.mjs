import { createNodeResolver, importX } from 'eslint-plugin-import-x';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';
import { readdirSync } from 'node:fs';

const root = import.meta.dirname;
const foldersOf = (parent) =>
  readdirSync(`${root}/${parent}`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

// ---- The rules of the house (CONTRIBUTING.md says why) ---------------------------------------------------------------

/** Do nothing but compute: no I/O, no clock, no randomness. */
const PURE_LIBS = ['access', 'lifecycle', 'protocol', 'scheduling', 'whatif'];
/** Hold a NATS connection in their hands; everyone else talks through them. */
const NATS_LIBS = ['bus', 'journal', 'fleet', 'images', 'tenancy', 'chaos', 'keys', 'partitions'];

const TESTS = ['**/*.spec.ts', '**/*.spec.tsx', '**/*.fixtures.ts', '**/testing/**', 'test/**'];
const libFiles = (names) => names.map((name) => `libs/${name}/**/*.ts`);

const NATS = {
  regex: '^(?:nats|@nats-io/.*)$',
  allowTypeImports: true,
  message:
    'Only libs/bus, libs/journal, libs/fleet, libs/images, libs/tenancy and libs/chaos talk to NATS; use #bus, #journal, #fleet, #images or #tenancy.',
};
const XSTATE = { regex: '^xstate(?:/.*)?$', message: 'Machines live in libs/lifecycle; use #lifecycle.' };
const LIBS_BY_NAME = {
  regex: '^\\.{1,2}/.*(?:libs|apps)/',
  message: 'Import a library by its name, such as #protocol; apps import no apps.',
};
const NOTHING_IMPURE = {
  regex: `^(?!\\.{1,2}/|#(?:${PURE_LIBS.join('|')})$|zod$|xstate(?:/|$))`,
  message: `Pure libraries (${PURE_LIBS.join(', ')}) import each other, zod and xstate, and nothing else.`,
};
const importing = (...patterns) => ({
  '@typescript-eslint/no-restricted-imports': ['error', { patterns: [LIBS_BY_NAME, ...patterns] }],
});

const IMPURE_GLOBALS = [
  'process',
  'console',
  'performance',
  'crypto',
  'fetch',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'require',
];
const PURITY = {
  'no-restricted-globals': [
    'error',
    ...IMPURE_GLOBALS.map((name) => ({
      name,
      message: 'Pure libraries have no I/O, clock or randomness: take it as an argument.',
    })),
  ],
  'no-restricted-syntax': [
    'error',
    {
      selector: "MemberExpression[object.name='Date'][property.name='now']",
      message: 'Pure libraries have no clock: take the time as an argument.',
    },
    {
      selector: "NewExpression[callee.name='Date'][arguments.length=0], CallExpression[callee.name='Date']",
      message: 'Pure libraries have no clock: take the time as an argument.',
    },
    {
      selector: "MemberExpression[object.name='Math'][property.name='random']",
      message: 'Pure libraries have no randomness: take it as an argument.',
    },
    { selector: 'ImportExpression', message: 'Pure libraries load nothing at run time.' },
  ],
};

/** Apps depend on libs and never on each other; libs never on apps. */
const ZONES = [
  ...foldersOf('apps').map((app) => ({
    target: `${root}/apps/${app}`,
    from: `${root}/apps`,
    except: [`./${app}`],
    message: 'Apps never import apps: put what they share into a library.',
  })),
  { target: `${root}/libs`, from: `${root}/apps`, message: 'Libraries never import apps.' },
];

// ---- The configuration -----------------------------------------------------------------------------------------------

export default tseslint.config(
  {
    ignores: ['**/node_modules/**', 'dist/**', 'coverage/**', 'native/build*/**', '.volley/**'],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts', '**/*.tsx', '**/*.mts'],
    extends: [tseslint.configs.recommended],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    settings: {
      'import-x/resolver-next': [
        // `types` leads from #name to the sources of a library.
        createNodeResolver({
          extensions: ['.ts', '.tsx', '.js'],
          conditionNames: ['types', 'node', 'import', 'require', 'default'],
        }),
      ],
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts', '.tsx'] },
      'import-x/internal-regex': '^#',
    },
    rules: {
      ...importing(NATS, XSTATE),
      'import-x/no-restricted-paths': ['error', { zones: ZONES }],
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'import-x/no-self-import': 'error',

      // What TypeScript knows and a reader easily misses.
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-for-in-array': 'error',
      '@typescript-eslint/no-implied-eval': 'error',
      '@typescript-eslint/no-misused-promises': [
        'error',
        { checksVoidReturn: { arguments: false, attributes: false } },
      ],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingUnknown: true, allowThrowingAny: true },
      ],
      '@typescript-eslint/restrict-plus-operands': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],

      '@typescript-eslint/no-non-null-assertion': 'off', // noUncheckedIndexedAccess makes them needed where an index is known
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_' },
      ],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-control-regex': 'error',
      'no-constant-binary-expression': 'error',
      'no-promise-executor-return': 'off',
      'no-self-compare': 'error',
      'no-template-curly-in-string': 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
    },
  },
  { plugins: { '@typescript-eslint': tseslint.plugin } },
  { files: libFiles(NATS_LIBS), rules: importing(XSTATE) },
  { files: libFiles(PURE_LIBS), ignores: TESTS, rules: { ...importing(NOTHING_IMPURE, NATS), ...PURITY } },
  {
    files: libFiles(PURE_LIBS.filter((name) => name !== 'lifecycle')),
    ignores: TESTS,
    rules: importing(NOTHING_IMPURE, NATS, XSTATE),
  },
  // A package of its own, where names such as #protocol mean nothing; it imports types of libraries only.
  {
    files: ['apps/console/**/*.ts', 'apps/console/**/*.tsx'],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns: [NATS, XSTATE] }] },
  },
  // The bucket of idempotency keys is the controller's alone.
  { files: ['apps/controller/src/operator/idempotency-keys.ts'], rules: importing(XSTATE) },
  {
    files: TESTS.flatMap((pattern) => (pattern.endsWith('**') ? [`${pattern}/*.ts`] : [pattern])),
    ignores: ['apps/console/**'],
    rules: importing(),
  },
  prettier,
);
