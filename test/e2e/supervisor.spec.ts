import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Fleet, until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import { describeWithAnyVmm } from '../support/vmm-here';

jest.setTimeout(120_000);

interface SupervisorStatus {
  supervisor: { pid: number };
  processes: { name: string; pid: number; restarts: number }[];
}

const CONTROL_PLANE = [
  'nats-server',
  'volley-controller',
  'volley-placement',
  'volley-images',
  'volley-hostd',
  'volley-gateway',
];

describeWithNats('up and down on one machine', () => {
  describeWithAnyVmm('with microVMs', (microvms) => {
    let fleet: Fleet;
    let vmm: number;

    beforeAll(async () => {
      fleet = await Fleet.upWith(microvms, '--no-canary');
      vmm = (await fleet.running({ name: 'witness' })).pid!;
    });
    afterAll(() => fleet.down());

    const status = async (): Promise<SupervisorStatus> => (await fleet.status()) as unknown as SupervisorStatus;
    /** What `up` waits for is a host that is ready; what it has is on record by and by. */
    const witnessRuns = (): Promise<void> =>
      until('the witness runs, and nobody else', async () => {
        const all = await fleet.list();
        return all.length === 1 && all[0]!.state === 'running' && all[0]!.pid === vmm;
      });
    const titleOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    /** A zombie has ended; when it is buried is the business of pid 1. */
    const alive = (pid: number): boolean =>
      existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));

    it('is made of processes whose titles name what they are', async () => {
      const { supervisor, processes } = await status();
      expect(processes.map(({ name }) => name)).toEqual(CONTROL_PLANE);
      expect(titleOf(supervisor.pid)).toBe(`volley-supervisor ${fleet.data}`);
      for (const { name, pid } of processes) expect(titleOf(pid)).toContain(name);
    });

    it('goes on without its supervisor; the next up ends what is left over and touches no microVM', async () => {
      const before = await status();
      process.kill(before.supervisor.pid, 'SIGKILL');
      await until('the supervisor is gone', async () => !alive(before.supervisor.pid));
      await witnessRuns(); // REST answers still
      await expect(fleet.volley('status')).rejects.toMatchObject({
        code: 3,
        stdout: expect.stringContaining('The supervisor died'),
      });

      await fleet.up('--no-canary');
      const after = await status();
      expect(after.processes.map(({ name }) => name)).toEqual(CONTROL_PLANE);
      expect(before.processes.filter(({ pid }) => alive(pid))).toEqual([]);
      await witnessRuns();
    });

    it('comes up once when two want it at the same time', async () => {
      await fleet.volley('down', '--keep-microvms');
      const ups = await Promise.all([1, 2].map(() => fleet.volley('up', '--detach', '--no-canary', '--port', '0')));
      const words = ups.map(({ stdout }) => (stdout.includes('already up') ? 'already up' : 'up'));
      expect(words.sort()).toEqual(['already up', 'up']);
      await fleet.up('--no-canary');
      await witnessRuns();
    });

    it('is brought down although its control plane hangs', async () => {
      const { supervisor, processes } = await status();
      for (const { name, pid } of processes) if (/gateway|controller/.test(name)) process.kill(pid, 'SIGSTOP');
      await fleet.volley('down', '--timeout', '2s');
      expect([supervisor, ...processes].filter(({ pid }) => alive(pid))).toEqual([]);
      expect(fleet.vmms()).toEqual([]);
      await fleet.up('--no-canary');
      const states = async () => (await fleet.list()).map(({ state }) => state);
      await until('its end is on record', async () => (await states()).join() === 'failed');
    });
  });

  it('in the foreground, an interrupt stops the control plane and leaves the microVMs running', async () => {
    const fleet = new Fleet();
    try {
      const up = spawn(join(__dirname, '../../volley'), ['up', '--port', '0', '--no-canary', '--data', fleet.data], {
        env: { ...process.env, VOLLEY_SETUP: 'skip', VOLLEY_NETWORK: 'off' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let notes = '';
      up.stderr.on('data', (text: Buffer) => (notes += text.toString()));
      await until('it is up', async () => notes.includes('Ctrl-C stops the control plane'));
      await fleet.up();
      const vmms = fleet.vmms().length;
      // And all that it has said has come.
      const ended = once(up, 'close');
      up.kill('SIGINT');
      expect(await ended).toEqual([0, null]);
      expect(notes).toContain(vmms === 0 ? 'Stopped.' : 'go on running');
      expect(fleet.vmms()).toHaveLength(vmms);
      await expect(fleet.volley('status')).rejects.toMatchObject({ code: 3 });
    } finally {
      await fleet.down();
    }
  });

  it('refuses a port that another program has, before anything is started', async () => {
    const [one, other] = [await Fleet.up('--no-canary'), new Fleet()];
    try {
      const { port } = new URL(one.url);
      await expect(other.volley('up', '--detach', '--port', port)).rejects.toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`127.0.0.1:${port} is taken`),
      });
      expect(existsSync(join(other.data, 'supervisor.json'))).toBe(false);
    } finally {
      await one.down();
      rmSync(other.data, { recursive: true, force: true });
    }
  });
});
