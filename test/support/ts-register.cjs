// `node --conditions=jest -r test/support/ts-register.cjs file.ts`: runs TypeScript as it stands, for tests that need a process
// of their own without building first.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const Module = require('node:module');
const { transformSync } = require('@swc/core');

const config = JSON.parse(readFileSync(join(__dirname, '../../.swcrc'), 'utf8'));

Module._extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    ...config,
    swcrc: false,
    sourceMaps: 'inline',
    filename,
  });
  module._compile(code, filename);
};
