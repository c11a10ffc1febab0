import { readdirSync, readlinkSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { HistoryEntry, Microvm, MicrovmStateName } from '#protocol';
import { Fleet, until, type ProcessName } from '../support/fleet';
import { itWithKvm } from '../support/kvm';
import { describeWithAnyVmm } from '../support/vmm-here';

jest.setTimeout(180_000);

interface Problem {
  status: number;
  code: string;
  detail: string;
  errors?: { path: string; message: string }[];
}

describeWithAnyVmm('the whole system', (vmm) => {
  let fleet: Fleet;

  beforeAll(async () => {
    fleet = await Fleet.upWith(vmm);
  });
  afterAll(() => fleet?.down());

  async function deleteAll(): Promise<void> {
    for (const { id } of await fleet.list()) await fleet.rest('DELETE', `/v1/microvms/${id}`);
    await until('all are deleted', async () => (await fleet.list()).length === 0);
    expect(fleet.vmms()).toEqual([]);
  }

  describe('an operator', () => {
    it('sees first light: a canary that `up` started', async () => {
      const [first] = await fleet.list();
      expect(first).toMatchObject({ name: 'first-light', image: 'canary', state: 'running' });
      expect(fleet.vmms()).toMatchObject([{ pid: first!.pid, microvmId: first!.id }]);
    });

    it('has a token that only its owner can read', () => {
      expect(statSync(join(fleet.data, 'operator.token')).mode & 0o777).toBe(0o600);
    });

    itWithKvm('runs a microVM by command; it is a process of its own that holds /dev/kvm', async () => {
      const { stdout } = await fleet.volley('run', 'canary', '--memory', '32', '--wait', 'running', '--json');
      const microvm = JSON.parse(stdout) as Microvm;
      expect((await fleet.volley('ps')).stdout).toContain(microvm.id);
      const descriptors = readdirSync(`/proc/${microvm.pid}/fd`).map((fd) =>
        readlinkSync(`/proc/${microvm.pid}/fd/${fd}`),
      );
      expect(descriptors).toContain('/dev/kvm');
      expect(descriptors.some((target) => target.includes('kvm-vcpu'))).toBe(true);
      expect((await fleet.volley('logs', microvm.id)).stdout).toContain('canary: 32 MiB');
    });

    it('reads every step with time, cause and latency, also after deletion, and the state at an instant', async () => {
      const { id } = await fleet.running();
      await fleet.rest('POST', `/v1/microvms/${id}/pause`);
      const paused = await fleet.reaches(id, 'paused');
      await fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted`);
      const { body } = await fleet.rest<{ entries: HistoryEntry[] }>('GET', `/v1/microvms/${id}/history`);
      expect(body.entries.map(({ to }) => to)).toEqual([
        'placing',
        'starting',
        'running',
        'pausing',
        'paused',
        'deleting',
        'deleted',
      ]);
      for (const { at, cause, latencyMs } of body.entries.slice(1)) {
        expect(Date.parse(at)).not.toBeNaN();
        expect(cause.by).not.toBe('');
        expect(latencyMs).toBeGreaterThanOrEqual(0);
      }
      const then = await fleet.rest<{ microvm: Microvm }>(
        'GET',
        `/v1/microvms/${id}/history?at=${encodeURIComponent(paused.updatedAt)}`,
      );
      expect(then.body.microvm).toMatchObject({ id, state: expect.stringMatching(/pausing|paused/) as string });
      expect((await fleet.volley('history', id)).stdout).toContain('deleted');
    });

    itWithKvm('changes a microVM while it runs, until it ends, and reads so in its history', async () => {
      const { id } = await fleet.running({ balloon: true, metadata: { key: 'old' } });
      const limit = { kind: 'limit', device: 'console', limit: { bytesPerSecond: 65_536 } };
      expect(await fleet.rest('POST', `/v1/microvms/${id}/tune`, limit)).toMatchObject({
        status: 200,
        body: { state: 'running', tuned: [limit] },
      });
      await fleet.volley('tune', 'balloon', id, '4');
      await fleet.volley('tune', 'metadata', id, 'key=secret', 'other=1');
      expect((await fleet.get(id)).tuned).toEqual([
        limit,
        { kind: 'balloon', mib: 4 },
        { kind: 'metadata', keys: ['key', 'other'] },
      ]);
      const { stdout } = await fleet.volley('history', id);
      expect(stdout).toMatch(/operator.*console 65536 bytes\/s/);
      expect(stdout).toMatch(/balloon 4 MiB[^]*metadata key other/);
      expect(JSON.stringify(await fleet.rest('GET', `/v1/microvms/${id}/history`))).not.toContain('secret');
      const noDisk = { kind: 'limit', device: 'disk0', limit: {} };
      expect(await fleet.rest('POST', `/v1/microvms/${id}/tune`, noDisk)).toMatchObject({
        status: 422,
        body: { code: 'unsupported', detail: 'this microVM has no disk0' },
      });
      await fleet.rest('POST', `/v1/microvms/${id}/kill?wait=stopped`);
      expect((await fleet.rest('POST', `/v1/microvms/${id}/tune`, limit)).status).toBe(409);
      await fleet.rest('POST', `/v1/microvms/${id}/start?wait=running`);
      expect((await fleet.get(id)).tuned).toEqual([]);
    });

    it('learns why a microVM is where it is', async () => {
      const { id, hostId } = await fleet.running();
      const { body } = await fleet.rest<{ receipts: { hostId: string; hosts: unknown[] }[] }>(
        'GET',
        `/v1/microvms/${id}/placement`,
      );
      expect(body.receipts).toMatchObject([{ hostId, hosts: [{ hostId, verdict: 'chosen' }] }]);
    });

    it.each([
      ['powerOff', 'exit=poweroff', 'stopped'],
      ['reboot', 'exit=reboot', 'stopped'],
      ['panic', 'exit=panic', 'failed'],
      ['tripleFault', 'exit=triplefault', 'failed'],
    ] as const)('is told %s when the guest ends that way', async (reason, cmdline, state) => {
      const { body } = await fleet.rest<Microvm>('POST', '/v1/microvms', { image: 'canary', memoryMiB: 8, cmdline });
      expect((await fleet.reaches(body.id, state)).exit).toMatchObject({ reason });
    });

    itWithKvm('sees the fleet promised and used', async () => {
      await fleet.running({ memoryMiB: 64, cmdline: 'touch=40' });
      await until('the touched memory shows', async () => {
        const { body } = await fleet.rest<{
          fleet: { used: { memoryMiB: number }; commitment: { memoryMiB: number } };
        }>('GET', '/v1/density');
        return body.fleet.used.memoryMiB >= 40 && body.fleet.commitment.memoryMiB >= 64;
      });
      const { body } = await fleet.rest<string>('GET', '/metrics');
      expect(body).toMatch(/volley_\w+/);
    });
  });

  describe('deleting', () => {
    it('ends in deleted from every state, with no process left', async () => {
      const states: [MicrovmStateName, string | undefined, string][] = [
        ['running', undefined, 'idle'],
        ['paused', 'pause', 'idle'],
        ['stopped', 'stop', 'idle'],
        ['failed', undefined, 'exit=panic'],
        ['stopping', 'stop', 'idle nostop'],
      ];
      for (const [state, command, cmdline] of states) {
        const { body } = await fleet.rest<Microvm>('POST', '/v1/microvms', { image: 'canary', memoryMiB: 8, cmdline });
        if (command) {
          await fleet.reaches(body.id, 'running');
          await fleet.rest('POST', `/v1/microvms/${body.id}/${command}`);
        }
        await fleet.reaches(body.id, state);
        await fleet.rest('DELETE', `/v1/microvms/${body.id}`);
        await fleet.reaches(body.id, 'deleted');
        expect(fleet.vmms().filter(({ microvmId }) => microvmId === body.id)).toEqual([]);
      }
      // And at once, wherever the start has got to.
      const created = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const { body } = await fleet.rest<Microvm>('POST', '/v1/microvms', { image: 'canary', memoryMiB: 8 });
          await new Promise((resolve) => setTimeout(resolve, i));
          await fleet.rest('DELETE', `/v1/microvms/${body.id}`);
          return body.id;
        }),
      );
      for (const id of created) await fleet.reaches(id, 'deleted');
      expect(fleet.vmms().filter(({ microvmId }) => created.includes(microvmId))).toEqual([]);
    });
  });

  describe('one Idempotency-Key', () => {
    it('makes one microVM of concurrent creates, and is refused with another body', async () => {
      const body = { image: 'canary', memoryMiB: 8 };
      const headers = { 'idempotency-key': 'the-same' };
      const answers = await Promise.all(
        Array.from({ length: 16 }, () => fleet.rest<Microvm>('POST', '/v1/microvms', body, headers)),
      );
      expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1);
      await fleet.reaches(answers[0]!.body.id, 'running');
      expect(fleet.vmms().filter(({ microvmId }) => microvmId === answers[0]!.body.id)).toHaveLength(1);
      expect((await fleet.rest('POST', '/v1/microvms', { ...body, memoryMiB: 9 }, headers)).status).toBe(409);
    });
  });

  describe('bad input', () => {
    it.each<[string, number, () => ['GET' | 'POST' | 'DELETE', string, unknown?, Record<string, string>?]]>([
      ['an unknown image', 422, () => ['POST', '/v1/microvms', { image: 'nope' }]],
      ['no vCPU', 422, () => ['POST', '/v1/microvms', { image: 'canary', vcpus: 0 }]],
      ['a pebibyte', 422, () => ['POST', '/v1/microvms', { image: 'canary', memoryMiB: 2 ** 30 }]],
      ['a wrong type', 422, () => ['POST', '/v1/microvms', { image: 'canary', memoryMiB: 'much' }]],
      ['an unknown field', 422, () => ['POST', '/v1/microvms', { image: 'canary', colour: 'red' }]],
      ['malformed JSON', 400, () => ['POST', '/v1/microvms', '{"image":']],
      ['a huge body', 413, () => ['POST', '/v1/microvms', { image: 'canary', cmdline: 'x'.repeat(1 << 20) }]],
      ['no token', 401, () => ['GET', '/v1/microvms', undefined, { authorization: '' }]],
      ['a wrong token', 401, () => ['POST', '/v1/microvms', { image: 'canary' }, { authorization: 'Bearer wrong' }]],
      ['an unknown id', 404, () => ['GET', '/v1/microvms/01hzzzzzzzzzzzzzzzzzzzzzzz']],
      ['a malformed id', 404, () => ['DELETE', '/v1/microvms/%2e%2e%2fetc']],
      ['an unknown route', 404, () => ['GET', '/v1/nothing']],
    ])('%s gets %i with a problem document, and nothing is left behind', async (_, status, request) => {
      const before = (await fleet.list()).length;
      const [method, path, body, headers] = request();
      const answer = await fleet.rest<Problem>(method, path, body, headers);
      expect(answer.status).toBe(status);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(answer.body).toMatchObject({ status, detail: expect.any(String) as string });
      expect((await fleet.list()).length).toBe(before);
    });

    it('a command that the state does not accept gets 409', async () => {
      const { id } = await fleet.running();
      await fleet.rest('POST', `/v1/microvms/${id}/stop`);
      await fleet.reaches(id, 'stopped');
      expect((await fleet.rest('POST', `/v1/microvms/${id}/pause`)).status).toBe(409);
    });
  });

  describe('with 50 microVMs running', () => {
    let pids: Map<string, number>;

    beforeAll(async () => {
      await deleteAll();
      const microvms = await Promise.all(Array.from({ length: 50 }, () => fleet.running({ memoryMiB: 8 })));
      pids = new Map(microvms.map(({ id, pid }) => [id, pid!]));
    });

    const running = () => new Map(fleet.vmms().map(({ microvmId, pid }) => [microvmId, pid]));
    /** Whose host was away for longer than its lease, they are `unreachable` for as long as it takes to look after all. */
    const allRun = async (): Promise<Microvm[]> => {
      let microvms: Microvm[] = [];
      await until('all run on record', async () => {
        microvms = (await fleet.list()).filter(({ id }) => pids.has(id));
        return microvms.length === pids.size && microvms.every(({ state }) => state === 'running');
      });
      return microvms;
    };

    it.each<ProcessName>(['volley-hostd', 'volley-controller', 'nats-server', 'volley-gateway', 'volley-placement'])(
      'kill -9 of %s leaves all of them running, and the fleet answers again',
      async (name) => {
        const started = performance.now();
        const pid = await fleet.kill9(name);
        await until(`${name} runs again`, async () => (await fleet.pidOf(name)) !== pid);
        await until('a new microVM runs', async () => {
          const { id } = await fleet.running({ memoryMiB: 8 });
          await fleet.rest('DELETE', `/v1/microvms/${id}?wait=deleted`);
          return true;
        });
        process.stdout.write(
          `first-light: ${name} killed; a new microVM ran after ${Math.round(performance.now() - started)} ms\n`,
        );
        const microvms = await allRun();
        expect(new Map(microvms.map(({ id, pid: now }) => [id, now]))).toEqual(pids);
        for (const [id, pidBefore] of pids) expect(running().get(id)).toBe(pidBefore);
        // Adopted, not only alive: the agent still rules them.
        const [id] = pids.keys();
        await fleet.rest('POST', `/v1/microvms/${id}/pause`);
        await fleet.reaches(id!, 'paused');
        await fleet.rest('POST', `/v1/microvms/${id}/resume`);
        await fleet.reaches(id!, 'running');
      },
    );

    it('kill -9 of a VMM makes its microVM failed, with that reason', async () => {
      const [id, pid] = [...pids].at(-1)!;
      const killedAt = Date.now();
      process.kill(pid, 'SIGKILL');
      const failed = await fleet.reaches(id, 'failed');
      process.stdout.write(
        `first-light: VMM killed; failed on record after ${Date.parse(failed.updatedAt) - killedAt} ms\n`,
      );
      expect(failed).toMatchObject({ pid: null, exit: { reason: 'killed' } });
      pids.delete(id);
    });

    it('down --keep-microvms and up again: the same processes, the same history', async () => {
      await fleet.volley('down', '--keep-microvms');
      for (const [id, pid] of pids) expect(running().get(id)).toBe(pid);
      await fleet.up('--no-canary');
      for (const { id, pid, epoch } of await allRun()) expect({ pid, epoch }).toEqual({ pid: pids.get(id), epoch: 1 });
    });

    it('a second up on the same folder says so and changes nothing', async () => {
      const before = await fleet.status();
      expect(await fleet.up('--no-canary')).toMatch(/already/i);
      expect((await fleet.status()).processes.map(({ pid }) => pid)).toEqual(before.processes.map(({ pid }) => pid));
    });

    it('down ends every process it started, and the next up has the history', async () => {
      const processes = (await fleet.status()).processes.map(({ pid }) => pid!);
      await fleet.volley('down');
      expect(fleet.vmms()).toEqual([]);
      for (const pid of processes) expect(() => readFileSync(`/proc/${pid}/cmdline`)).toThrow();
      await fleet.up('--no-canary');
      const stopped = async (): Promise<boolean> => {
        const microvms = (await fleet.list()).filter(({ id }) => pids.has(id));
        return microvms.length === pids.size && microvms.every(({ state }) => state === 'stopped');
      };
      await until('all have stopped on record', stopped);
    });
  });
});
