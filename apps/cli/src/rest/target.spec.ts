import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { targetOf } from './target';

let data: string;
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'volley-target-'));
  writeFileSync(join(data, 'operator.token'), 'local\n');
  writeFileSync(join(data, 'supervisor.json'), JSON.stringify({ url: 'http://127.0.0.1:7500' }));
  writeFileSync(join(data, 'other.token'), 'other\n');
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

it('finds the local up by its data folder', () => {
  const target = targetOf({ data }, {});
  expect([target.url, target.token()]).toEqual(['http://127.0.0.1:7500', 'local']);
});
it('never sends the local token elsewhere', () => {
  expect(targetOf({ data, url: 'http://elsewhere:7400' }, {}).token()).toBeUndefined();
  expect(targetOf({ data }, { VOLLEY_URL: 'https://elsewhere' }).token()).toBeUndefined();
});
it('takes flags before the environment', () => {
  const env = { VOLLEY_URL: 'http://from-env', VOLLEY_TOKEN_FILE: '/nowhere' };
  const target = targetOf({ data, url: 'http://from-flag', tokenFile: join(data, 'other.token') }, env);
  expect([target.url, target.token()]).toEqual(['http://from-flag', 'other']);
});
it('refuses what is no URL', () => {
  expect(() => targetOf({ data, url: 'localhost:7400' }, {})).toThrow('is not a URL');
});
it('says when a token file that was named is missing', () => {
  expect(() => targetOf({ data, tokenFile: '/nowhere' }, {}).token()).toThrow('cannot read the operator token');
});
