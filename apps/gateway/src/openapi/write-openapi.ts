import { writeFileSync } from 'node:fs';
import { buildOpenApi } from './openapi';

/** `node dist/apps/gateway/src/openapi/write-openapi.js docs/openapi.json` writes the document; without a path it prints it. */
const path = process.argv[2];
const text = `${JSON.stringify(buildOpenApi(), null, 2)}\n`;
if (path === undefined) process.stdout.write(text);
else writeFileSync(path, text);
