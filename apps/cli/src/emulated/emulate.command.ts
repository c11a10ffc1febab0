import { InvalidArgumentError, type Command } from 'commander';
import { statSync } from 'node:fs';
import { durationOption, memoryOption, variableOption, wholeNumber } from '../commands/option-types';
import { repositoryRoot } from '../repository-root';
import { EMULATED_MEANS } from './emulated-means';
import { runEmulated } from './run-emulated';

interface EmulateOptions {
  memory: number;
  cpus: number;
  timeout: number;
  env?: Record<string, string>;
  share: string[];
}

export function addEmulateCommand(program: Command): void {
  program
    .command('emulate <command...>')
    .description(
      `run a command on ${EMULATED_MEANS.split(',')[0]} that has all files of this machine, and hardware KVM`,
    )
    .option('--memory <size>', 'memory of that host, with all that is written there', memoryOption, 6_144)
    .option('--cpus <n>', 'its processors, which take turns on one of this machine', wholeNumber(1, 64), 1)
    .option('--timeout <duration>', 'after this the host is ended', durationOption, 3_600_000)
    .option('--share <folder>', 'what is written in it there is written here, may be repeated', folderOption, [])
    .option('--env <NAME=VALUE>', 'set there, may be repeated; NAME alone takes the value it has here', variableOption)
    .addHelpText(
      'after',
      `
Needs no /dev/kvm. What the command writes elsewhere stays there and is forgotten; its exit code is that of this command.

  ./volley emulate -- ./volley test native
  ./volley emulate --memory 8G -- npx jest libs/microvm
`,
    )
    .action(async (argv: string[], { memory, cpus, timeout, env, share }: EmulateOptions) => {
      process.exitCode = await runEmulated(
        {
          root: repositoryRoot(),
          argv,
          environment: env ?? {},
          shared: share,
          memoryMiB: memory,
          cpus,
          deadlineMs: timeout,
        },
        (bytes) => process.stdout.write(bytes),
      );
    });
}

function folderOption(text: string, others: string[]): string[] {
  if (statSync(text, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new InvalidArgumentError('It must be a folder that is there.');
  }
  return [...others, text];
}
