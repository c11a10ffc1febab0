import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkHistories, checkHosts, readHistories } from '#chaos';
import { parseProcessStat } from '#density';
import { MICROVM_STREAM, type Host, type Microvm } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { describeWithAnyVmm } from '../support/vmm-here';

jest.setTimeout(240_000);

const ROOT = join(__dirname, '../..');
/** A process as it was started, so that it can be started the same way by hand. */
interface Started {
  args: string[];
  env: Record<string, string>;
}

function howStarted(pid: number): Started {
  const words = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').filter(Boolean);
  // A service names its process anew, so its command line does not say how it was started; its settings do.
  const env = Object.fromEntries(
    words('environ').map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]),
  );
  return { args: [join(ROOT, 'dist/apps/hostd/src/main.js')], env };
}

/** Ticks of CPU that a process has used: those of a guest that computes grow as long as it runs. */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

const startOf = (pid: number) => parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))!.startTicks;

describeWithAnyVmm('without a control plane', (vmm) => {
  let fleet: Fleet;
  const byHand: ChildProcess[] = [];

  beforeEach(async () => {
    fleet = await Fleet.upWith(vmm, '--no-canary');
  });
  afterEach(async () => {
    for (const child of byHand.splice(0)) child.kill('SIGKILL');
    await fleet.down();
  });

  function supervisorPid(): number {
    const state = readFileSync(join(fleet.data, 'supervisor.json'), 'utf8');
    return (JSON.parse(state) as { supervisor: { pid: number } }).supervisor.pid;
  }

  /** Starts an agent; resolves when it says that it has taken over its microVMs. Nobody else is needed for that. */
  async function startAgent({ args, env }: Started): Promise<ChildProcess> {
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    byHand.push(child);
    let said = '';
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the agent takes nothing over:\n${said}`)), 60_000);
      const hear = (chunk: Buffer): void => {
        said += chunk.toString();
        if (!said.includes('microVMs taken over')) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.once('exit', (code) => reject(new Error(`the agent ended with ${code}:\n${said}`)));
    });
    return child;
  }

  async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  async function goOn(microvms: readonly Microvm[]): Promise<void> {
    // Where there is no guest that computes there is only to see that nobody has ended.
    if (vmm === 'stand-in')
      return expect(fleet.vmms().map(({ pid }) => pid)).toEqual(expect.arrayContaining(microvms.map(({ pid }) => pid)));
    const before = new Map(microvms.map(({ pid }) => [pid!, cpuTicks(pid!)]));
    await until('all guests go on computing', () =>
      Promise.resolve(microvms.every(({ pid }) => cpuTicks(pid!) > before.get(pid!)!)),
    );
  }

  async function violations(accepted: readonly Microvm[]) {
    const nats = await fleet.nats();
    const { violations, endings } = checkHistories(await readHistories(nats, MICROVM_STREAM.name));
    await nats.close();
    return [
      ...violations,
      ...checkHosts(
        endings,
        fleet.vmms(),
        accepted.map(({ id }) => id),
      ),
    ];
  }

  it('microVMs run on, their agent is restarted and adopts them, and all of it is as before when everything is back', async () => {
    const microvms = await Promise.all(
      Array.from({ length: 6 }, (_, n) => fleet.running({ cmdline: 'burn=5', name: `m${n}` })),
    );
    const starts = microvms.map(({ pid }) => startOf(pid!));
    const agentPid = await fleet.pidOf('volley-hostd');
    const pids = (await fleet.status()).processes.flatMap(({ pid }) => (pid && pid !== agentPid ? [pid] : []));
    const agent = howStarted(agentPid);
    const supervisor = supervisorPid();
    // The supervisor first: it would start the others again.
    for (const pid of [supervisor, ...pids]) process.kill(pid, 'SIGKILL');
    await goOn(microvms);
    process.kill(agentPid, 'SIGKILL');
    await goOn(microvms);
    await end(await startAgent(agent), 'SIGKILL');
    const again = await startAgent(agent);
    await goOn(microvms);
    await end(again, 'SIGTERM');
    await fleet.up('--no-canary');
    for (const { id, pid } of microvms) expect(await fleet.reaches(id, 'running')).toMatchObject({ pid, epoch: 1 });
    await goOn(microvms);
    expect(microvms.map(({ pid }) => startOf(pid!))).toEqual(starts);
    expect(await violations(microvms)).toEqual([]);
  });

  it('an agent of another version takes the place of the one before, and no microVM notices', async () => {
    const microvms = await Promise.all(Array.from({ length: 4 }, () => fleet.running({ cmdline: 'burn=5' })));
    const starts = microvms.map(({ pid }) => startOf(pid!));
    const agentPid = await fleet.pidOf('volley-hostd');
    const { env } = howStarted(agentPid);
    const supervisor = supervisorPid();
    const next = mkdtempSync(join(tmpdir(), 'volley-next-version-'));
    try {
      cpSync(join(ROOT, 'dist'), join(next, 'dist'), { recursive: true });
      for (const name of ['node_modules', 'native']) symlinkSync(join(ROOT, name), join(next, name));
      const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as object;
      writeFileSync(join(next, 'package.json'), JSON.stringify({ ...manifest, version: '99.0.0' }));
      process.kill(supervisor, 'SIGKILL');
      process.kill(agentPid, 'SIGTERM');
      const agent = await startAgent({ args: [join(next, 'dist/apps/hostd/src/main.js')], env });
      await until('it has registered', async () => {
        const { body } = await fleet.rest<{ items: Host[] }>('GET', '/v1/hosts');
        return body.items[0]!.state === 'ready' && body.items[0]!.description.agentVersion === '99.0.0';
      });
      for (const { id, pid } of microvms) expect(await fleet.reaches(id, 'running')).toMatchObject({ pid, epoch: 1 });
      await goOn(microvms);
      expect(microvms.map(({ pid }) => startOf(pid!))).toEqual(starts);
      // It obeys the new one.
      const { status } = await fleet.rest('POST', `/v1/microvms/${microvms[0]!.id}/stop?wait=stopped&timeout=60s`, {});
      expect(status).toBe(200);
      expect(await violations(microvms)).toEqual([]);
      await end(agent, 'SIGTERM');
    } finally {
      rmSync(next, { recursive: true, force: true });
    }
  });

  it('what may start elsewhere is never there twice, also when its agent was frozen for longer than its lease', async () => {
    const [moves, stays] = await Promise.all([
      fleet.running({ cmdline: 'burn=5', onHostLoss: 'reschedule' }),
      fleet.running({ cmdline: 'burn=5' }),
    ]);
    const agentPid = await fleet.pidOf('volley-hostd');
    process.kill(agentPid, 'SIGSTOP');
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, fleet.vmms().filter(({ microvmId }) => microvmId === moves.id).length);
    }, 20);
    try {
      const isToMove = async (): Promise<boolean> =>
        ['requested', 'placing'].includes((await fleet.get(moves.id)).state);
      await until('it is to start elsewhere', isToMove);
      expect(await fleet.get(stays.id)).toMatchObject({ state: 'unreachable', pid: stays.pid });
      process.kill(agentPid, 'SIGCONT');
      await until('it runs again', async () => (await fleet.get(moves.id)).state === 'running');
    } finally {
      clearInterval(watch);
      process.kill(agentPid, 'SIGCONT');
    }
    const again = await fleet.get(moves.id);
    expect(again.epoch).toBeGreaterThan(1);
    expect(again.pid).not.toBe(moves.pid);
    expect(most).toBe(1);
    expect(await fleet.reaches(stays.id, 'running')).toMatchObject({ pid: stays.pid, epoch: 1 });
    expect(await violations([moves, stays])).toEqual([]);
  });
});
