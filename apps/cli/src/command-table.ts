import type { Command } from 'commander';

/** Adds its commands to the program. */
type AddCommands = (program: Command) => void;

export interface CommandSource {
  /** Of all commands that it adds, with their other names. */
  names: readonly string[];
  load(): Promise<AddCommands>;
}

/** Where each command lives, in the order of `--help`. A file is loaded when it is asked for: all of them take a second. */
export const COMMAND_TABLE: readonly CommandSource[] = [
  { names: ['up'], load: async () => (await import('./up/up.command.js')).addUpCommand },
  { names: ['down'], load: async () => (await import('./up/down.command.js')).addDownCommand },
  { names: ['keys'], load: async () => (await import('./keys/keys.command.js')).addKeysCommand },
  { names: ['status'], load: async () => (await import('./up/status.command.js')).addStatusCommand },
  { names: ['run'], load: async () => (await import('./commands/run.command.js')).addRunCommand },
  { names: ['ps', 'ls'], load: async () => (await import('./commands/ps.command.js')).addPsCommand },
  { names: ['inspect'], load: async () => (await import('./commands/inspect.command.js')).addInspectCommand },
  { names: ['history'], load: async () => (await import('./commands/history.command.js')).addHistoryCommand },
  { names: ['logs'], load: async () => (await import('./commands/logs.command.js')).addLogsCommand },
  { names: ['exec'], load: async () => (await import('./sessions/exec.command.js')).addExecCommand },
  { names: ['cp'], load: async () => (await import('./sessions/cp.command.js')).addCpCommand },
  { names: ['console'], load: async () => (await import('./sessions/console.command.js')).addConsoleCommand },
  {
    names: ['pause', 'resume', 'suspend', 'start', 'kill', 'stop', 'rm', 'delete'],
    load: async () => (await import('./commands/lifecycle.commands.js')).addLifecycleCommands,
  },
  { names: ['protect'], load: async () => (await import('./commands/protect.command.js')).addProtectCommand },
  { names: ['group'], load: async () => (await import('./commands/group.command.js')).addGroupCommand },
  { names: ['template'], load: async () => (await import('./commands/template.command.js')).addTemplateCommand },
  { names: ['pool'], load: async () => (await import('./commands/template.command.js')).addPoolCommand },
  { names: ['tune'], load: async () => (await import('./commands/tune.command.js')).addTuneCommands },
  { names: ['image'], load: async () => (await import('./images/image.command.js')).addImageCommand },
  {
    names: ['placement', 'receipt'],
    load: async () => (await import('./commands/placement.command.js')).addPlacementCommand,
  },
  { names: ['events'], load: async () => (await import('./commands/events.command.js')).addEventsCommand },
  { names: ['hosts'], load: async () => (await import('./commands/hosts.command.js')).addHostsCommand },
  { names: ['hostclass'], load: async () => (await import('./commands/hostclass.command.js')).addHostClassCommand },
  { names: ['drain'], load: async () => (await import('./commands/drain.command.js')).addDrainCommand },
  { names: ['density'], load: async () => (await import('./commands/density.command.js')).addDensityCommand },
  { names: ['top'], load: async () => (await import('./top/top.command.js')).addTopCommand },
  { names: ['fleet'], load: async () => (await import('./past/fleet.command.js')).addFleetCommand },
  { names: ['diff'], load: async () => (await import('./past/diff.command.js')).addDiffCommand },
  { names: ['coresidency'], load: async () => (await import('./past/coresidency.command.js')).addCoresidencyCommand },
  { names: ['retention'], load: async () => (await import('./past/retention.command.js')).addRetentionCommand },
  { names: ['whatif'], load: async () => (await import('./past/whatif.command.js')).addWhatIfCommand },
  { names: ['tenant'], load: async () => (await import('./tenants/tenant.command.js')).addTenantCommand },
  { names: ['token'], load: async () => (await import('./tenants/token.command.js')).addTokenCommand },
  { names: ['audit'], load: async () => (await import('./commands/audit.command.js')).addAuditCommand },
  { names: ['doctor'], load: async () => (await import('./doctor/doctor.command.js')).addDoctorCommand },
  { names: ['bench'], load: async () => (await import('./bench/bench.command.js')).addBenchCommand },
  { names: ['machines'], load: async () => (await import('./commands/machines.command.js')).addMachinesCommand },
  { names: ['chaos'], load: async () => (await import('./chaos/chaos.command.js')).addChaosCommand },
  { names: ['test'], load: async () => (await import('./suites/test.command.js')).addTestCommand },
  { names: ['fuzz'], load: async () => (await import('./fuzz/fuzz.command.js')).addFuzzCommand },
  { names: ['emulate'], load: async () => (await import('./emulated/emulate.command.js')).addEmulateCommand },
];
