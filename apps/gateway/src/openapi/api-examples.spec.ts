import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectNats } from '#bus';
import type { NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { gatewayUnderTest, TOKEN, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ScriptedController } from '../testing/scripted-controller';
import { ScriptedImages } from '../testing/scripted-images';
import { ScriptedSessions } from '../testing/scripted-sessions';

const run = promisify(execFile);
const hasCurl = spawnSync('curl', ['--version'], { stdio: 'ignore' }).status === 0;
if (!hasCurl) process.stderr.write('SKIPPED: the examples of docs/api.md: curl is not installed\n');

describeWithNats('the examples of docs/api.md', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let images: ScriptedImages;
  let sessions: ScriptedSessions;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
    await ScriptedController.start(nc);
    images = await ScriptedImages.start(nc);
    sessions = await ScriptedSessions.start(nc);
    gateway = await gatewayUnderTest(server.url);
  });
  afterAll(async () => {
    await gateway?.close();
    await images?.stop();
    await sessions?.stop();
    await nc?.close();
    await server?.stop();
  });

  (hasCurl ? it : it.skip)('run as they stand, in their order', async () => {
    const text = readFileSync(join(__dirname, '../../../../docs/api.md'), 'utf8');
    const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block!);
    expect(blocks.length).toBeGreaterThan(20);
    const script = `set -euo pipefail\nset -x\n${blocks.join('echo\n')}`;
    const folder = mkdtempSync(join(tmpdir(), 'volley-examples-'));
    const env = { PATH: process.env['PATH'], TMPDIR: folder, VOLLEY: gateway.url, TOKEN };
    const { stdout } = await run('bash', ['-c', script], { env, timeout: 25_000 }).finally(() =>
      rmSync(folder, { recursive: true, force: true }),
    );
    expect(stdout).toContain('"state":"paused"');
    expect(stdout).toContain('canary: bye');
    expect(stdout).toContain('event: microvm');
    expect(stdout).toContain('volley_fleet_microvms 3');
  });
});
