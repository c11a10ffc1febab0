import { ExitCode } from '../exit-code';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';
import { resolveId } from './resolve-id';

const A = '01m84cxmd3wc5x6j9kpphzdj5k';
const B = '01m84cy2xa7g49mqrzc6yfrds4';
const C = '01m84d3f4de3j2k27hhbdjs9xe';
const GONE = '01m80000000000000000000000';
let api: ScriptedApi;

beforeEach(async () => {
  api = await scriptedApi(({ query }, response) => {
    const items = query.getAll('state').includes('deleted')
      ? [{ id: GONE, name: 'old' }]
      : [
          { id: A, name: 'web' },
          { id: B, name: 'db' },
          { id: C, name: 'db' },
        ];
    json(response, 200, { items, nextCursor: null });
  });
});
afterEach(() => api.close());

it('asks nobody about a whole id', async () => {
  expect(await resolveId(api.client, B)).toBe(B);
  expect(api.seen).toEqual([]);
});
it.each([
  ['web', A],
  ['01m84cx', A],
  ['rds4', B],
  ['old', GONE],
])('knows whom %s means', async (text, id) => {
  expect(await resolveId(api.client, text)).toBe(id);
});
it.each(['db', '01m84c'])('does not guess whom %s means', async (text) => {
  await expect(resolveId(api.client, text)).rejects.toMatchObject({
    exitCode: ExitCode.notFound,
    message: expect.stringContaining('could be any of 2'),
  });
});
it('says when there is none', async () => {
  await expect(resolveId(api.client, 'nobody')).rejects.toThrow('no microVM has the id or name "nobody"');
});
