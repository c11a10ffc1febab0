import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { VmmChoice } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { repositoryRoot } from '../repository-root';
import { RestClient } from '../rest/rest-client';
import type { DataFolder } from '../supervisor/data-folder';
import { closeLog, openLog, rotateLog } from '../supervisor/log-file';
import { endProcess, goneWithin, type ProcessIdentity } from '../supervisor/process-identity';
import { IN_USE } from '../supervisor/exit-code';
import { SupervisorLock } from '../supervisor/supervisor-lock';
import { readState } from '../supervisor/supervisor-state';
import type { Overcommit } from '../supervisor/volley-processes';
import { hopelessProcess } from './hopeless-process';
import { lastLines } from './log-tail';
import type { ListenAddress } from './listen-address';

const SUPERVISOR = 'supervisor';
/** Its services drain for 15 s, nats-server after them for 10 s. */
const STOP_MS = 60_000;

/** Thrown when the launched supervisor found the folder held by another. */
export class AnotherSupervisorError extends Error {
  override readonly name = 'AnotherSupervisorError';
}

/** What a supervisor is to keep running. */
export interface Wanted {
  listen: ListenAddress;
  overcommit: Overcommit;
  controllers: number;
  /** Three nats-servers. A folder that has them keeps them. */
  cluster: boolean;
  emulated: boolean;
  vmm: VmmChoice;
}

/** Starts a supervisor in a session of its own, so that it outlives this program and its terminal. */
export function launchSupervisor(
  folder: DataFolder,
  { listen, overcommit, controllers, cluster, emulated, vmm }: Wanted,
): ChildProcess {
  const main = join(repositoryRoot(), 'dist', 'apps', 'cli', 'src', 'supervisor', 'main.js');
  rotateLog(folder.logFile(SUPERVISOR));
  const log = openLog(folder.logFile(SUPERVISOR));
  try {
    const args = [
      '--enable-source-maps',
      main,
      '--data',
      folder.path,
      '--host',
      listen.host,
      '--port',
      String(listen.port),
    ];
    args.push('--overcommit-cpu', String(overcommit.cpu), '--overcommit-memory', String(overcommit.memory));
    args.push('--controllers', String(controllers), '--vmm', vmm);
    if (cluster) args.push('--cluster');
    if (emulated) args.push('--emulated');
    return spawn(process.execPath, args, { stdio: ['ignore', log, log], detached: true, cwd: '/' });
  } finally {
    closeLog(log);
  }
}

/**
 * Waits until the REST API says that it is ready.
 *
 * @throws AnotherSupervisorError when another one was faster.
 * @throws CliError with the end of the log, when the supervisor ends, a process cannot stay alive, or time is up.
 */
export async function untilReady(
  folder: DataFolder,
  client: RestClient,
  deadlineMs: number,
  child?: ChildProcess,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    if (child?.exitCode === IN_USE) throw new AnotherSupervisorError();
    if (child && (child.exitCode !== null || child.signalCode !== null)) {
      throw new CliError(`the supervisor ended at once:\n${lastLines(folder.logFile(SUPERVISOR))}`);
    }
    const hopeless = hopelessProcess(readState(folder), child?.pid);
    if (hopeless) {
      throw new CliError(
        `${hopeless.name} does not stay alive (${hopeless.lastExit}):\n${lastLines(folder.logFile(hopeless.name))}`,
      );
    }
    try {
      await client.get('/readyz', { deadlineMs: 2_000 });
      return;
    } catch (error) {
      if (performance.now() > end) {
        throw new CliError(
          `not ready after ${deadlineMs / 1_000} s: ${(error as Error).message}; see the logs in ${folder.logs}`,
          ExitCode.timeout,
        );
      }
    }
    await pause(50);
  }
}

/** The living supervisor of a folder. One that is about to end is waited for, and not counted. */
export async function livingSupervisor(folder: DataFolder): Promise<ProcessIdentity | undefined> {
  const holder = SupervisorLock.holder(folder);
  if (!holder) return undefined;
  const phase = readState(folder)?.phase;
  if (phase !== 'stopping' && phase !== 'down') return holder;
  if (readState(folder)?.supervisor.pid === holder.pid && !(await goneWithin(holder, STOP_MS))) {
    throw new CliError(`the supervisor with pid ${holder.pid} does not stop; kill it, then run this again`);
  }
  return SupervisorLock.holder(folder);
}

/** Stops a supervisor and with it every process of the control plane. */
export async function endSupervisor(supervisor: ProcessIdentity | undefined): Promise<void> {
  if (supervisor) await endProcess(supervisor, STOP_MS);
}
