import type { Command } from 'commander';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { contextOf } from '../commands/context';
import { wholeNumber } from '../commands/option-types';
import { resolveId } from '../rest/resolve-id';
import { RemoteSession } from './remote-session';
import { terminalOf } from './terminal';
import { openWebSocket } from './web-socket';

/** Ctrl-] */
const DETACH = 0x1d;

export function addConsoleCommand(program: Command): void {
  program
    .command('console <id>')
    .description('join the serial console of a microVM; Ctrl-] leaves it')
    .option('--history <bytes>', 'begin with so much of what it has written', wholeNumber(0, 65_536), 4_096)
    .action(async (name: string, options: { history: number }, command: Command) => {
      const { client, out } = contextOf(command);
      const { stdin, stdout, stderr } = process;
      const id = await resolveId(client, name);
      const terminal = terminalOf(stdin, stdout);
      const [socket, protocol] = await Promise.all([
        openWebSocket(client, `/v1/microvms/${id}/console`, {
          historyBytes: String(options.history),
        }),
        import('#protocol'),
      ]);
      const session = new RemoteSession(socket, { stdout, stderr }, protocol);
      let detached = false;
      const leave = (): void => {
        detached = true;
        session.close();
      };
      process.once('SIGTERM', leave).once('SIGHUP', leave);
      if (!terminal) process.once('SIGINT', leave);
      try {
        if (terminal) {
          out.note(`console of ${id}; Ctrl-] leaves it`);
          terminal.raw();
        }
        session.feed(stdin, (part) => (terminal ? beforeDetach(part, leave) : part));
        const { error } = await session.ended;
        await session.flushed();
        terminal?.restore();
        if (error && !detached) throw new CliError(error.message, ExitCode.notUp);
        if (terminal) out.note(detached ? '\nleft the console; the microVM goes on' : '\nthe microVM has ended');
      } finally {
        terminal?.restore();
        process.off('SIGTERM', leave).off('SIGHUP', leave).off('SIGINT', leave);
        stdin.pause();
        stdin.unref?.();
        socket.terminate();
      }
    });
}

/** What is typed, up to the key that leaves. */
export function beforeDetach(part: Buffer, leave: () => void): Buffer {
  const at = part.indexOf(DETACH);
  if (at < 0) return part;
  leave();
  return part.subarray(0, at);
}
