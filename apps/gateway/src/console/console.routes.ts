import { z } from 'zod';
import { INVALID, NOT_FOUND } from '../http/common-responses';
import { route } from '../http/route';

const shared = { tag: 'console', access: 'open', method: 'GET' } as const;
const caching = { 'if-none-match': z.string().optional().describe('ETag of what the client has.') };

export const consoleRoute = route({
  ...shared,
  name: 'getConsole',
  path: '/',
  summary: 'The console page; it holds no data and asks for the token itself',
  headers: z.object(caching),
  responses: {
    200: { description: 'The page.', contentType: 'text/html' },
    304: { description: 'Not changed.' },
    ...INVALID,
  },
});

export const consoleAssetRoute = route({
  ...shared,
  name: 'getConsoleAsset',
  path: '/assets/{file}',
  summary: 'A file of the console page',
  params: z.strictObject({ file: z.string().max(100).describe('Its name, which changes with its content.') }),
  headers: z.object(caching),
  responses: {
    200: { description: 'The file.', contentType: '*/*' },
    304: { description: 'Not changed.' },
    ...NOT_FOUND,
    ...INVALID,
  },
});

export const faviconRoute = route({
  ...shared,
  name: 'getFavicon',
  path: '/favicon.svg',
  summary: 'The icon of the console page',
  headers: z.object(caching),
  responses: {
    200: { description: 'The icon.', contentType: 'image/svg+xml' },
    304: { description: 'Not changed.' },
    ...NOT_FOUND,
    ...INVALID,
  },
});
