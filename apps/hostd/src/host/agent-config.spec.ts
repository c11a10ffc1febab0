import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '#bus';
import { HostId } from '#protocol';
import { AgentConfig, defaultReserveMiB, defaultSlots, hostIdFrom } from './agent-config';
import { HostDirectoryError, hostIdOf, lockHostDirectory } from './host-identity';

describe('settings', () => {
  it('come from flags before the environment, with defaults for the rest', () => {
    const env = { VOLLEY_NATS_URL: 'nats://a', VOLLEY_SLOTS: '7', VOLLEY_LABELS: 'rack=r1,zone=z' };
    expect(readConfig(AgentConfig, ['--slots', '9'], env)).toMatchObject({
      natsUrl: 'nats://a',
      slots: 9,
      labels: { rack: 'r1', zone: 'z' },
      overcommitCpu: 10,
      overcommitMemory: 1.5,
    });
  });

  it('mean VMMs unless stand-ins are asked for by name', () => {
    const env = { VOLLEY_NATS_URL: 'nats://a' };
    expect(readConfig(AgentConfig, [], env).vmm).toBe('kvm');
    expect(readConfig(AgentConfig, [], { ...env, VOLLEY_VMM: 'stand-in' }).vmm).toBe('stand-in');
    expect(readConfig(AgentConfig, ['--vmm', 'stand-in'], env).vmm).toBe('stand-in');
    for (const VOLLEY_VMM of ['', 'none', 'standin'])
      expect(() => readConfig(AgentConfig, [], { ...env, VOLLEY_VMM })).toThrow(/--vmm or VOLLEY_VMM/);
  });

  it('say what is wrong', () => {
    const env = { VOLLEY_NATS_URL: '', VOLLEY_SLOTS: '-1', VOLLEY_LABELS: 'rack', VOLLEY_HOST_ID: 'a.b' };
    expect(() => readConfig(AgentConfig, [], env)).toThrow(
      /--nats-url or VOLLEY_NATS_URL[^]*--host-id or VOLLEY_HOST_ID[^]*--slots or VOLLEY_SLOTS[^]*--labels or VOLLEY_LABELS/,
    );
  });

  it('offer slots by memory and by open files', () => {
    expect(defaultSlots(256_000, 4_000, 1_000_000)).toBe(4_096);
    expect(defaultSlots(3_000, 500, 1_000_000)).toBe(2_000);
    expect(defaultSlots(256_000, 4_000, 1_024)).toBe(256);
    expect(defaultSlots(256, 256, 64)).toBe(1);
    expect(defaultReserveMiB(24_000)).toBe(1_200);
    expect(defaultReserveMiB(400)).toBe(200);
  });
});

describe('identity', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'volley-identity-'))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is a valid host id, whatever the machine is called', () => {
    for (const name of ['web-1.example.org', 'Büro PC', '...', 'x'.repeat(200)]) {
      expect(HostId.safeParse(hostIdFrom('a1b2c3', name)).success).toBe(true);
    }
  });

  it('stays with the directory', () => {
    const id = hostIdOf(join(directory, 'new'), undefined);
    expect(hostIdOf(join(directory, 'new'), undefined)).toBe(id);
    expect(hostIdOf(join(directory, 'new'), id)).toBe(id);
    expect(() => hostIdOf(join(directory, 'new'), 'other')).toThrow(HostDirectoryError);
    writeFileSync(join(directory, 'host-id'), 'not an id!');
    expect(() => hostIdOf(directory, undefined)).toThrow(/does not hold a host id/);
  });

  it('belongs to one agent at a time', async () => {
    const digest = `test-${process.pid}`;
    const lock = await lockHostDirectory(directory, digest);
    await expect(lockHostDirectory(directory, digest)).rejects.toThrow(/another host agent works on/);
    await new Promise((resolve) => lock.close(resolve));
    const again = await lockHostDirectory(directory, digest);
    await new Promise((resolve) => again.close(resolve));
  });
});
