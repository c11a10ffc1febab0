import { constants } from 'node:os';
import type { Command } from 'commander';
import type { SessionEnd } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { contextOf } from '../commands/context';
import { variableOption } from '../commands/option-types';
import { resolveId } from '../rest/resolve-id';
import { RemoteSession } from './remote-session';
import { terminalOf } from './terminal';
import { openWebSocket } from './web-socket';

interface ExecOptions {
  interactive?: boolean;
  tty?: boolean;
  env?: Record<string, string>;
  user?: string;
  workdir?: string;
}

/** What shells say of a program that is not there, or cannot be run. */
const NO_SUCH_PROGRAM = 127;
const CANNOT_RUN = 126;
const SIGNALED = 128;

export function addExecCommand(program: Command): void {
  program
    .command('exec <id> <command...>')
    .description('run a command inside a microVM; exits with its exit code')
    .option('-i, --interactive', 'send standard input to it')
    .option('-t, --tty', 'give it a terminal')
    .option('-e, --env <name=value>', 'a variable of its environment; may be repeated', variableOption)
    .option('-u, --user <user>', 'run it as this user: name or number, user:group')
    .option('-w, --workdir <path>', 'run it in this folder of the guest')
    .addHelpText('after', '\nOptions of the command itself come after --:  volley exec web -- ls -l /srv')
    .action(async (name: string, words: string[], options: ExecOptions, command: Command) => {
      const { client } = contextOf(command);
      const { stdin, stdout, stderr } = process;
      const id = await resolveId(client, name);
      const terminal = options.tty === true ? terminalOf(stdin, stdout) : undefined;
      if (options.tty === true && options.interactive === true && !terminal) {
        throw new CliError(
          '-t with -i needs a terminal; leave -t out where input and output are files',
          ExitCode.usage,
        );
      }
      const [socket, protocol] = await Promise.all([
        openWebSocket(client, `/v1/microvms/${id}/exec`),
        import('#protocol'),
      ]);
      const session = new RemoteSession(socket, { stdout, stderr }, protocol);
      const size = options.tty === true ? { rows: terminal?.rows ?? 24, columns: terminal?.columns ?? 80 } : undefined;
      const term = size && process.env['TERM'] !== undefined ? { TERM: process.env['TERM'] } : {};
      socket.send(
        JSON.stringify({
          command: words,
          env: { ...term, ...options.env },
          user: options.user,
          workdir: options.workdir,
          stdin: options.interactive === true,
          tty: size,
        }),
      );
      // Without a terminal there, keys that end programs reach us here. The second time they end us.
      const pass = (signal: NodeJS.Signals): void => session.signal(constants.signals[signal]);
      const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
      for (const signal of signals) process.once(signal, pass);
      try {
        if (terminal) {
          terminal.onResize((rows, columns) => session.resize(rows, columns));
          if (options.interactive) terminal.raw();
        }
        if (options.interactive) session.feed(stdin);
        process.exitCode = exitCodeOf(await session.ended);
        await session.flushed();
      } finally {
        terminal?.restore();
        for (const signal of signals) process.off(signal, pass);
        stdin.pause();
        stdin.unref?.();
        socket.terminate();
      }
    });
}

/** @throws CliError when it was not the command that ended. */
function exitCodeOf({ code, signal, error }: SessionEnd): number {
  if (code !== undefined) return code;
  if (signal !== undefined) return SIGNALED + signal;
  if (error?.code === 'notFound') throw new CliError(error.message, NO_SUCH_PROGRAM);
  if (error?.code === 'refused') throw new CliError(error.message, CANNOT_RUN);
  throw new CliError(error?.message ?? 'the session ended without a word', exitCodeOfError(error?.code));
}

function exitCodeOfError(code: string | undefined): number {
  switch (code) {
    case 'invalid':
    case 'unsupported':
      return ExitCode.usage;
    case 'conflict':
      return ExitCode.refused;
    case 'unavailable':
      return ExitCode.notUp;
    case 'timeout':
      return ExitCode.timeout;
    default:
      return ExitCode.failed;
  }
}
