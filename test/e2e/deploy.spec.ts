import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { natsSettings } from '#bus';
import { describeWithNats } from '../support/nats-server';

const ROOT = join(__dirname, '../..');
const DEPLOY = join(ROOT, 'deploy');
const BINARY = process.env['VOLLEY_NATS_SERVER'] ?? 'nats-server';

describeWithNats('deploy/nats', () => {
  const folder = mkdtempSync(join(tmpdir(), 'volley-deploy-'));
  const keys = (...words: string[]) =>
    execFileSync(
      process.execPath,
      [join(ROOT, 'dist/apps/cli/src/main.js'), 'keys', ...words, '--keys', join(folder, 'keys')],
      {
        stdio: 'pipe',
        timeout: 60_000,
      },
    );
  beforeAll(() => {
    keys('add');
    keys('add', 'host-host-1');
    keys('tls', 'server', 'nats-1', 'nats-2', 'nats-3', '10.0.0.1');
    symlinkSync(join(folder, 'keys/tls'), join(folder, 'tls'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(['nats.conf', 'nats-single.conf'])(
    '%s is what this nats-server understands, with the files that README.md makes',
    (name) => {
      const text = readFileSync(join(DEPLOY, 'nats', name), 'utf8').replaceAll('/etc/volley', folder);
      const config = join(folder, name);
      writeFileSync(config, text.replaceAll('/var/lib/volley', join(folder, 'data')));
      const env = { ...process.env, NATS_NAME: 'nats-1', NATS_ADDRESS: '127.0.0.1' };
      const { status, stderr } = spawnSync(BINARY, ['-t', '-c', config], { env, encoding: 'utf8', timeout: 60_000 });
      expect(stderr).toContain('is valid');
      expect(status).toBe(0);
    },
  );
});

describe('deploy/systemd', () => {
  const units = readdirSync(join(DEPLOY, 'systemd'));
  const known = Object.keys(natsSettings).map(
    (name) => `VOLLEY_${name.replace(/[A-Z]/g, (one) => `_${one}`).toUpperCase()}`,
  );

  it.each(units.filter((name) => name !== 'volley-nats.service'))('%s finds NATS with a key of its own', (name) => {
    const unit = readFileSync(join(DEPLOY, 'systemd', name), 'utf8');
    const fleet = readFileSync(join(DEPLOY, 'fleet.env'), 'utf8');
    const service = /volley-(\w+)/.exec(name)![1]!;
    expect(unit).toContain(`VOLLEY_NATS_NKEY_FILE=/etc/volley/${service === 'hostd' ? 'host' : `keys/${service}`}.nk`);
    expect(unit).toContain('EnvironmentFile=/etc/volley/fleet.env');
    for (const [setting] of `${unit}\n${fleet}`.matchAll(/VOLLEY_NATS_\w+/g)) expect(known).toContain(setting);
  });
});
