import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { INTERNAL_OPERATIONS, OPERATOR_OPERATIONS } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../support/nats-server';
import { ServiceProcess } from '../support/service-process';

const ROOT = join(__dirname, '../..');

describe('docs/nats.md', () => {
  const page = readFileSync(join(ROOT, 'docs/nats.md'), 'utf8').replace(/ +/g, ' ');

  it.each([...OPERATOR_OPERATIONS, ...INTERNAL_OPERATIONS].map((operation) => [operation.subject, operation] as const))(
    'documents %s with its deadline',
    (subject, { deadlineMs, summary }) => {
      expect(page).toContain(`| \`${subject}\` | ${deadlineMs / 1000} s | ${summary} |`);
    },
  );
});

describeWithNats('docs/examples/nats-request.sh', () => {
  let server: NatsServer;
  let keys: string;
  let controller: ServiceProcess;

  beforeAll(async () => {
    keys = mkdtempSync(join(tmpdir(), 'volley-keys-'));
    volleyKeys('add', 'controller', 'operator');
    server = await startNatsServer({ config: readFileSync(join(keys, 'users.conf'), 'utf8') });
    controller = await ServiceProcess.start('controller', {
      VOLLEY_NATS_URL: server.url,
      VOLLEY_NATS_NKEY_FILE: join(keys, 'controller.nk'),
    });
  });

  afterAll(async () => {
    await controller?.kill('SIGTERM');
    await server?.stop();
    rmSync(keys, { recursive: true });
  });

  function volleyKeys(...words: string[]): void {
    const main = join(ROOT, 'dist/apps/cli/src/main.js');
    execFileSync(process.execPath, [main, 'keys', ...words, '--keys', keys], { stdio: 'pipe', timeout: 60_000 });
  }

  function request(subject: string, body: string, seedFile = join(keys, 'operator.nk')) {
    const address = server.url.replace('nats://', '');
    const script = join(ROOT, 'docs/examples/nats-request.sh');
    const { stdout, stderr, status } = spawnSync(script, [address, seedFile, subject, body], {
      timeout: 60_000,
      encoding: 'utf8',
    });
    return { reply: stdout ? (JSON.parse(stdout) as Record<string, unknown>) : undefined, stderr, status };
  }

  it('creates a microVM and reads it back, in plain JSON', () => {
    const created = request(
      'volley.v1.microvm.create',
      '{"spec":{"image":"canary","memoryMiB":32},"idempotencyKey":"first-try"}',
    );
    expect(created.status).toBe(0);
    const microvm = created.reply?.['microvm'] as { id: string };
    expect(request('volley.v1.microvm.get', JSON.stringify({ id: microvm.id })).reply).toMatchObject({
      microvm: { id: microvm.id },
    });
  });

  it.each([
    ['not JSON', 'volley.v1.microvm.create', 'create one please'],
    ['an empty message', 'volley.v1.microvm.create', ''],
    ['an array', 'volley.v1.microvm.create', '[]'],
    ['an unknown field', 'volley.v1.microvm.list', '{"colour":"red"}'],
    ['a malformed id', 'volley.v1.microvm.get', '{"id":"../../etc"}'],
  ])('gets an error reply for %s, and the controller lives on', (_, subject, body) => {
    const { reply, status } = request(subject, body);
    expect(status).toBe(1);
    expect(reply).toMatchObject({ error: { code: 'invalid' } });
    expect(request('volley.v1.microvm.list', '{}').status).toBe(0);
  });

  it('says when nobody answers, something is not allowed, or the key is not good', () => {
    expect(request('volley.v1.image.list', '{}').stderr).toContain('nobody answers');
    expect(request('volley.v1.hosts.h1.command', '{}').stderr).toContain('Permissions Violation');
    volleyKeys('rotate', 'operator'); // nats-server has not heard of it
    expect(request('volley.v1.microvm.list', '{}').stderr).toContain('Authorization Violation');
  });
});
