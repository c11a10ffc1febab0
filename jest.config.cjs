/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['jest', 'node', 'node-addons'] },
  transform: { '^.+\\.ts$': '@swc/jest' },
  // Commands are loaded when they are asked for, and import() wants the name of a built file.
  moduleNameMapper: { '^(\\.{1,2}/.+\\.commands?)\\.js$': '$1' },
  testMatch: ['<rootDir>/libs/**/*.spec.ts', '<rootDir>/apps/*/src/**/*.spec.ts', '<rootDir>/test/**/*.spec.ts'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/'],
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  // Ends what hangs; on a busy machine what works may take long.
  testTimeout: 120_000,
};
