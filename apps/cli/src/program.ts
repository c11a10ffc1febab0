import { Command } from 'commander';
import { join } from 'node:path';
import { ExitCode } from './exit-code';
import { addDensityCommand } from './commands/density.command';
import { addDrainCommand } from './commands/drain.command';
import { addEventsCommand } from './commands/events.command';
import { addGroupCommand } from './commands/group.command';
import { addHistoryCommand } from './commands/history.command';
import { addHostClassCommand } from './commands/hostclass.command';
import { addHostsCommand } from './commands/hosts.command';
import { addInspectCommand } from './commands/inspect.command';
import { addLifecycleCommands } from './commands/lifecycle.commands';
import { addLogsCommand } from './commands/logs.command';
import { addMachinesCommand } from './commands/machines.command';
import { addPlacementCommand } from './commands/placement.command';
import { addProtectCommand } from './commands/protect.command';
import { addPsCommand } from './commands/ps.command';
import { addPoolCommand, addTemplateCommand } from './commands/template.command';
import { addRunCommand } from './commands/run.command';
import { addTuneCommands } from './commands/tune.command';
import { addBenchCommand } from './bench/bench.command';
import { addChaosCommand } from './chaos/chaos.command';
import { addEmulateCommand } from './emulated/emulate.command';
import { addFuzzCommand } from './fuzz/fuzz.command';
import { addImageCommand } from './images/image.command';
import { addDoctorCommand } from './doctor/doctor.command';
import { repositoryRoot } from './repository-root';
import { addKeysCommand } from './keys/keys.command';
import { addConsoleCommand } from './sessions/console.command';
import { addCpCommand } from './sessions/cp.command';
import { addExecCommand } from './sessions/exec.command';
import { addAuditReplay } from './past/audit-replay.command';
import { addCoresidencyCommand } from './past/coresidency.command';
import { addDiffCommand } from './past/diff.command';
import { addFleetCommand } from './past/fleet.command';
import { addRetentionCommand } from './past/retention.command';
import { addWhatIfCommand } from './past/whatif.command';
import { addTopCommand } from './top/top.command';
import { addTestCommand } from './suites/test.command';
import { addAuditList } from './tenants/audit-list.command';
import { addTenantCommand } from './tenants/tenant.command';
import { addTokenCommand } from './tenants/token.command';
import { addDownCommand } from './up/down.command';
import { addStatusCommand } from './up/status.command';
import { addUpCommand } from './up/up.command';

/** The `volley` command with all its subcommands. */
export function volleyProgram(): Command {
  const program = new Command('volley')
    .description('A fleet controller for microVM hosts.')
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
  addUpCommand(program);
  addDownCommand(program);
  addKeysCommand(program);
  addStatusCommand(program);
  addRunCommand(program);
  addPsCommand(program);
  addInspectCommand(program);
  addHistoryCommand(program);
  addLogsCommand(program);
  addExecCommand(program);
  addCpCommand(program);
  addConsoleCommand(program);
  addLifecycleCommands(program);
  addProtectCommand(program);
  addGroupCommand(program);
  addTemplateCommand(program);
  addPoolCommand(program);
  addTuneCommands(program);
  addImageCommand(program);
  addPlacementCommand(program);
  addEventsCommand(program);
  addHostsCommand(program);
  addHostClassCommand(program);
  addDrainCommand(program);
  addDensityCommand(program);
  addTopCommand(program);
  addFleetCommand(program);
  addDiffCommand(program);
  addCoresidencyCommand(program);
  addRetentionCommand(program);
  addWhatIfCommand(program);
  addTenantCommand(program);
  addTokenCommand(program);
  const audit = program.command('audit').description('who did or tried what, and whether the histories bear it out');
  addAuditList(audit);
  addAuditReplay(audit);
  addDoctorCommand(program);
  addBenchCommand(program);
  addMachinesCommand(program);
  addChaosCommand(program);
  addTestCommand(program);
  addFuzzCommand(program);
  addEmulateCommand(program);
  return program;
}
