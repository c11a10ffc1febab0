import { CommanderError } from 'commander';
import { CliError } from './errors';
import { ExitCode } from './exit-code';
import { runVolley } from './program';
import { closeConnections } from './rest/http-exchange';

// `volley ps | head` ends the pipe early; that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(ExitCode.ok);
  throw error;
});

async function main(): Promise<void> {
  try {
    await runVolley(...process.argv.slice(2));
  } catch (error) {
    process.exitCode = report(error);
  } finally {
    closeConnections();
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage; // it has printed its message
  if (error instanceof CliError) {
    process.stderr.write(`volley: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`volley: a fault in this program: ${error instanceof Error ? error.stack : String(error)}\n`);
  return ExitCode.failed;
}

void main();
