import { Command } from 'commander';
import { join } from 'node:path';
import { ExitCode } from './exit-code';
import { COMMAND_TABLE, type CommandSource } from './command-table';
import { repositoryRoot } from './repository-root';
import { volleyVersion } from './version';

/** The `volley` command, with those of its subcommands that `words` may mean: with all of them, if there is none. */
export async function volleyProgram(words: readonly string[] = []): Promise<Command> {
  const program = new Command('volley')
    .description('A fleet controller for microVM hosts.')
    .version(volleyVersion(), '--version')
    .option(
      '--data <dir>',
      'data folder of a local `volley up`',
      process.env['VOLLEY_DATA'] ?? join(repositoryRoot(), '.volley', 'data'),
    )
    .option('--url <url>', 'REST API to talk to; else VOLLEY_URL, else that of the data folder')
    .option('--token-file <file>', 'file with the operator token; else VOLLEY_TOKEN_FILE, else that of the data folder')
    .option(
      '--ca-file <file>',
      'authorities to believe when the URL is https; else VOLLEY_CA_FILE, else those of the system',
    )
    .option('--json', 'print JSON')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
    .showHelpAfterError('(--help lists what there is)')
    .exitOverride()
    .addHelpText(
      'after',
      `
A microVM is named by its id, a beginning or end of it that no other has, or its name.
Exit codes: ${Object.entries(ExitCode)
        .map(([name, code]) => `${code} ${name}`)
        .join(', ')}; docs/operate.md says more.`,
    );
  for (const { load } of meant(words)) (await load())(program);
  return program;
}

function meant(words: readonly string[]): readonly CommandSource[] {
  const sources = COMMAND_TABLE.filter(({ names }) => names.some((name) => words.includes(name)));
  const first = words.findIndex((word) => sources.some(({ names }) => names.includes(word)));
  // Help that is asked for before any command is that of the whole program.
  const isForAll = words.slice(0, first).some((word) => word === '--help' || word === '-h');
  return sources.length === 0 || isForAll ? COMMAND_TABLE : sources;
}

/** Carries out one command line. @throws CliError from the command, CommanderError for a line that makes none. */
export async function runVolley(...words: readonly string[]): Promise<void> {
  await (await volleyProgram(words)).parseAsync(words, { from: 'user' });
}
