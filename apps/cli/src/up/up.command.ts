import { Option, type Command } from 'commander';
import { setTimeout as pause } from 'node:timers/promises';
import type { VmmChoice } from '#protocol';
import { outputOf, type GlobalOptions } from '../commands/context';
import { timingsTable } from '../commands/inspect.command';
import { durationOption, memoryOption, ratioOption, wholeNumber } from '../commands/option-types';
import { vmmOption } from '../commands/vmm-option';
import { kvmAccess } from '../doctor/kvm-access';
import { thisHost } from '../doctor/host-view';
import { CliError } from '../errors';
import { EMULATED_MEANS } from '../emulated/emulated-means';
import { planEmulatedHost } from '../emulated/emulated-plan';
import { ExitCode } from '../exit-code';
import { duration } from '../output/quantities';
import type { Output } from '../output/output';
import { DEFAULT_URL, targetOf } from '../rest/target';
import { RestClient } from '../rest/rest-client';
import { urlOf } from '../rest/url-of';
import { DataFolder } from '../supervisor/data-folder';
import { identify, isAlive, type ProcessIdentity } from '../supervisor/process-identity';
import { endMarked } from '../supervisor/supervisor';
import { FolderInUseError, SupervisorLock } from '../supervisor/supervisor-lock';
import { readState } from '../supervisor/supervisor-state';
import { markedProcesses } from '../supervisor/marked-processes';
import { vmmProcesses } from '../supervisor/vmm-processes';
import { readSettings, requireClusterable } from '../supervisor/settings';
import { DEFAULT_OVERCOMMIT, EMULATED_HOST } from '../supervisor/volley-processes';
import { firstLight, untilHostReady, type FirstLight } from './first-light';
import { availableAt, parseListen } from './listen-address';
import { sizeOf, textAfter } from './log-tail';
import {
  AnotherSupervisorError,
  endSupervisor,
  launchSupervisor,
  livingSupervisor,
  untilReady,
} from './supervisor-process';

interface UpOptions {
  detach?: boolean;
  listen: string;
  port?: number;
  canary: boolean;
  emulated?: boolean;
  emulatedMemory: number;
  emulatedCpus: number;
  overcommitCpu: number;
  overcommitMemory: number;
  controllers: number;
  cluster?: boolean;
  vmm: VmmChoice;
  timeout: number;
}

export function addUpCommand(program: Command): void {
  program
    .command('up')
    .description('start nats-server, the control plane and a host agent on this machine, and one canary microVM')
    .option('-d, --detach', 'go back to the shell when it is up')
    .option('--listen <host:port>', 'where REST and the console page are', new URL(DEFAULT_URL).host)
    .addOption(
      new Option('--port <n>', 'the port on 127.0.0.1; 0 takes a free one')
        .argParser(wholeNumber(0, 65_535))
        .conflicts('listen'),
    )
    .option('--no-canary', 'start no microVM')
    .option(
      '--overcommit-cpu <ratio>',
      'most vCPUs to promise per CPU of this host',
      ratioOption,
      environmentRatio('CPU') ?? DEFAULT_OVERCOMMIT.cpu,
    )
    .option(
      '--overcommit-memory <ratio>',
      'most memory to promise per memory of this host',
      ratioOption,
      environmentRatio('MEMORY') ?? DEFAULT_OVERCOMMIT.memory,
    )
    .option('--cluster', 'three nats-servers with TLS, and everything stored on each; for a new data folder')
    .option('--controllers <n>', 'replicas of the controller, which share the fleet', wholeNumber(1, 9), 1)
    .option('--emulated', 'add a host in software emulation: stock Linux and OCI images, slowly, on any machine')
    .option('--emulated-memory <MiB>', 'memory of the emulated host', memoryOption, 3_072)
    .option('--emulated-cpus <n>', 'its processors', wholeNumber(1, 16), 1)
    .addOption(vmmOption())
    .option('--timeout <duration>', 'how long it may take to get ready', durationOption, 60_000)
    .action(async (options: UpOptions, command: Command) => {
      const folder = DataFolder.create(command.optsWithGlobals<GlobalOptions>().data);
      const out = outputOf(command);
      const living = await livingSupervisor(folder);
      if (living) await tellThatItIsUp(folder, out, living, options);
      else await bringUp(folder, out, options);
    });
}

/** It takes 10 s where there are CPUs for it, and a minute where there are not. */
const EMULATED_READY_MS = 240_000;
const EMULATED_LIGHT_MS = 60_000;

/** Thrown when the person at the keyboard does not want to wait for the start any longer. */
class InterruptedError extends CliError {}

async function bringUp(folder: DataFolder, out: Output, options: UpOptions): Promise<void> {
  const startedMs = performance.now();
  requireClusterable(folder, readSettings(folder), options.cluster ?? false);
  await endLeftovers(folder, out);
  if (options.emulated) {
    const sizes = { memoryMiB: options.emulatedMemory, cpus: options.emulatedCpus };
    await planEmulatedHost(folder, sizes, (text) => out.note(text));
  }
  const listen = await availableAt(
    options.port === undefined ? parseListen(options.listen) : { host: '127.0.0.1', port: options.port },
  );
  const kvm = kvmAccess(thisHost(folder.path));
  const { vmm } = options;
  // What keeps microVMs from running on this machine.
  const obstacle = vmm === 'stand-in' || kvm.usable ? undefined : kvm;
  const logFrom = sizeOf(folder.logFile('supervisor'));
  const overcommit = { cpu: options.overcommitCpu, memory: options.overcommitMemory };
  const { controllers, cluster = false, emulated = false } = options;
  const child = launchSupervisor(folder, { listen, overcommit, controllers, cluster, emulated, vmm });
  child.unref();
  const supervisor = child.pid === undefined ? undefined : identify(child.pid);
  const url = urlOf(listen);
  const client = new RestClient(targetOf({ url, tokenFile: folder.operatorTokenFile, data: folder.path }, {}));
  const interrupted = interruption();
  let light: FirstLight | undefined;
  let noLight: string | undefined;
  try {
    const work = async (): Promise<void> => {
      await untilReady(folder, client, options.timeout, child);
      out.note(`The control plane is up after ${duration(performance.now() - startedMs)}.`);
      const { hostId, emulatedHostId } = readSettings(folder)!;
      if (!obstacle) {
        await untilHostReady(client, hostId, 15_000);
        if (options.canary) light = await firstLight(client);
      } else if (!options.emulated) {
        noLight = `no microVM can run here: ${obstacle.why}`;
      }
      if (!options.emulated) return;
      out.note(`The emulated host boots; its console is ${folder.logFile(EMULATED_HOST)}`);
      await untilHostReady(client, emulatedHostId, EMULATED_READY_MS);
      out.note(`The emulated host ${emulatedHostId} is ready after ${duration(performance.now() - startedMs)}.`);
      if (options.canary) light ??= await firstLight(client, EMULATED_LIGHT_MS);
    };
    await Promise.race([
      work(),
      interrupted.then((signal) => Promise.reject(new InterruptedError(`${signal}: starting was given up`))),
    ]);
  } catch (error) {
    if (error instanceof AnotherSupervisorError) {
      const other = SupervisorLock.holder(folder);
      if (other) return tellThatItIsUp(folder, out, other, options);
    }
    if (error instanceof InterruptedError || !(await stillAnswers(client))) {
      await endSupervisor(supervisor);
      throw error;
    }
    // The control plane works; only microVMs do not. That is for the operator to look into.
    noLight = (error as Error).message;
  }

  if (out.json)
    out.document({
      url,
      tokenFile: folder.operatorTokenFile,
      data: folder.path,
      firstLight: light?.microvm ?? null,
      problem: noLight ?? null,
    });
  else welcome(folder, out, url, light);
  if (vmm === 'stand-in')
    out.note(
      '\nIts host runs stand-ins for VMMs (--vmm stand-in): microVMs there are processes without a guest, for tests.',
    );
  if (obstacle && !options.emulated) {
    out.note(
      `\nvolley: ${noLight}.\n  What to do: ${obstacle.todo}.\n  Then: ./volley doctor && ./volley down && ./volley up\n  Or: ./volley down && ./volley up --emulated (${EMULATED_MEANS})`,
    );
  } else if (noLight !== undefined) {
    out.note(`\nvolley: ${noLight}\n  See ./volley doctor, and the logs in ${folder.logs}`);
  } else if (vmm === 'kvm' && kvm.usable && kvm.kind === 'software' && !options.emulated && !out.json) {
    out.note(
      `\nThis machine's KVM is a software one: canaries run, stock Linux and OCI images need hardware KVM.\n  To try them: ./volley down && ./volley up --emulated (${EMULATED_MEANS})`,
    );
  }
  if (!options.detach && supervisor) await stayAttached(folder, out, supervisor, logFrom, interrupted);
  if (noLight !== undefined && (!obstacle || options.emulated)) process.exitCode = ExitCode.failed;
}

/** What a supervisor that died has left may still hold the port. Ended under the lock, so that nobody's living children are. */
async function endLeftovers(folder: DataFolder, out: Output): Promise<void> {
  if (markedProcesses(folder.path).length === 0) return;
  try {
    const lock = await SupervisorLock.take(folder);
    await endMarked(folder, (text) => out.note(text));
    lock.release();
  } catch (error) {
    if (!(error instanceof FolderInUseError)) throw error; // they belong to an up that was faster
  }
}

function welcome(folder: DataFolder, out: Output, url: string, light: FirstLight | undefined): void {
  if (light) {
    const { microvm, how } = light;
    out.line();
    if (how === 'was running') out.line(`First light: microVM ${microvm.id} went on running, VMM pid ${microvm.pid}.`);
    else {
      out.line(`First light: microVM ${microvm.id} runs on ${microvm.hostId}, VMM pid ${microvm.pid} (${how}).`);
      out.line();
      out.line(timingsTable(microvm));
    }
  }
  out.line();
  out.line(`REST API and console   ${url}`);
  out.line(`operator token         ${folder.operatorTokenFile}`);
  out.line(`data and logs          ${folder.path}`);
  out.line();
  out.line(
    light
      ? 'Try: ./volley run canary --memory 32 --wait running; ./volley ps; ./volley status; ./volley down'
      : 'Try: ./volley status; ./volley hosts; ./volley doctor; ./volley down',
  );
}

async function tellThatItIsUp(
  folder: DataFolder,
  out: Output,
  living: ProcessIdentity,
  options: UpOptions,
): Promise<void> {
  const url = readState(folder)?.url ?? DEFAULT_URL;
  const client = new RestClient(targetOf({ url, tokenFile: folder.operatorTokenFile, data: folder.path }, {}));
  await untilReady(folder, client, options.timeout);
  if (out.json) return out.document({ url, tokenFile: folder.operatorTokenFile, data: folder.path, alreadyUp: true });
  out.line(`It is already up: supervisor pid ${living.pid}, REST ${url}, token in ${folder.operatorTokenFile}`);
  requireClusterable(folder, readSettings(folder), options.cluster ?? false);
  if (options.emulated && !readState(folder)?.processes.some(({ name }) => name === EMULATED_HOST)) {
    out.note('It has no emulated host; to add one: ./volley down --keep-microvms && ./volley up --emulated');
  }
  const { vmm = 'kvm' } = readState(folder) ?? {};
  if (vmm !== options.vmm)
    out.note(`It runs with --vmm ${vmm}; to change that: ./volley down && ./volley up --vmm ${options.vmm}`);
  const asked = options.port === undefined ? options.listen : `127.0.0.1:${options.port}`;
  if (options.port !== undefined && options.port !== 0 && new URL(url).host !== asked) {
    out.note(
      `It keeps listening there; to move it to ${asked}: ./volley down --keep-microvms && ./volley up --port ${options.port}`,
    );
  }
}

/** Shows what the supervisor notes until Ctrl-C, which stops the control plane and leaves the microVMs running. */
async function stayAttached(
  folder: DataFolder,
  out: Output,
  supervisor: ProcessIdentity,
  logFrom: number,
  interrupted: Promise<string>,
): Promise<void> {
  out.note(
    '\nCtrl-C stops the control plane; microVMs go on running. ./volley down, in another terminal, stops them too.\n',
  );
  const log = folder.logFile('supervisor');
  let from = Math.max(logFrom, sizeOf(log));
  let signal: string | undefined;
  void interrupted.then((name) => (signal = name));
  while (signal === undefined) {
    if (!isAlive(supervisor)) {
      if (readState(folder)?.phase === 'down') return out.note('The control plane was stopped.');
      throw new CliError(`the supervisor died; ./volley up starts it again, microVMs go on running. See ${log}`);
    }
    const { text, to } = textAfter(log, from);
    from = to;
    if (text !== '') out.note(text.trimEnd());
    await Promise.race([pause(200), interrupted]);
  }
  out.note(`\n${signal}: stopping the control plane ...`);
  await endSupervisor(supervisor);
  const left = vmmProcesses(readSettings(folder)?.runDir ?? '/nowhere').length;
  out.note(
    left === 0
      ? 'Stopped.'
      : `Stopped; ${left} microVMs go on running. ./volley up takes them back, ./volley down ends them.`,
  );
}

function interruption(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve(signal));
  });
}

function environmentRatio(resource: 'CPU' | 'MEMORY'): number | undefined {
  const text = process.env[`VOLLEY_OVERCOMMIT_${resource}`];
  return text === undefined || text === '' ? undefined : ratioOption(text);
}

async function stillAnswers(client: RestClient): Promise<boolean> {
  return client.get('/readyz', { deadlineMs: 2_000 }).then(
    () => true,
    () => false,
  );
}
