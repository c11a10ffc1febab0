import type { Command } from 'commander';
import { outputOf, type GlobalOptions } from '../commands/context';
import { durationOption } from '../commands/option-types';
import { CliError } from '../errors';
import type { Output } from '../output/output';
import { RestClient } from '../rest/rest-client';
import { targetOf } from '../rest/target';
import { DataFolder } from '../supervisor/data-folder';
import { readSettings } from '../supervisor/settings';
import { endMarked } from '../supervisor/supervisor';
import { readState } from '../supervisor/supervisor-state';
import { killVmms, vmmProcesses } from '../supervisor/vmm-processes';
import { stopMicrovms } from './stop-microvms';
import { endSupervisor, livingSupervisor } from './supervisor-process';

interface DownOptions {
  keepMicrovms?: boolean;
  grace: number;
  timeout: number;
}

export function addDownCommand(program: Command): void {
  program
    .command('down')
    .description(
      'stop everything that up has started, microVMs included; histories stay, and the next up goes on from there',
    )
    .option('--keep-microvms', 'leave the microVMs running; the next up on the same folder adopts them')
    .option('--grace <duration>', 'how long a guest may take to power off before it is killed', durationOption, 3_000)
    .option(
      '--timeout <duration>',
      'how long to try through the API before VMM processes are killed',
      durationOption,
      60_000,
    )
    .action(async (options: DownOptions, command: Command) => {
      const folder = DataFolder.at(command.optsWithGlobals<GlobalOptions>().data);
      const out = outputOf(command);
      const report = await down(folder, out, options);
      if (out.json) out.document(report);
      else out.line(summary(report));
      if (report.microvms.left > 0) throw new CliError(`${report.microvms.left} VMM processes could not be ended`);
    });
}

interface DownReport {
  data: string;
  wasUp: boolean;
  microvms: { stopped: number; killed: number; kept: number; left: number };
}

async function down(folder: DataFolder, out: Output, options: DownOptions): Promise<DownReport> {
  const settings = readSettings(folder);
  const microvms = { stopped: 0, killed: 0, kept: 0, left: 0 };
  const supervisor = await livingSupervisor(folder);
  const wasUp = supervisor !== undefined;
  const state = readState(folder);
  if (wasUp && state && settings && !options.keepMicrovms) {
    const client = new RestClient(
      targetOf({ url: state.url, tokenFile: folder.operatorTokenFile, data: folder.path }, {}),
    );
    try {
      const report = await stopMicrovms(client, [settings.hostId, settings.emulatedHostId], {
        graceMs: options.grace,
        deadlineMs: options.timeout,
      });
      microvms.stopped = report.stopped;
      if (report.left > 0) out.note(`${report.left} microVMs did not stop within ${options.timeout / 1_000} s`);
    } catch (error) {
      out.note(
        `microVMs cannot be stopped through the API (${(error as Error).message}); ending their VMM processes instead`,
      );
    }
  }
  await endSupervisor(supervisor);
  // After a supervisor that ended in order only fences are left, which outlive their agents on purpose.
  const orphans = await endMarked(folder, (text) => wasUp || out.note(text));
  const vmms = settings ? vmmProcesses(settings.runDir) : [];
  if (options.keepMicrovms) microvms.kept = vmms.length;
  else if (vmms.length > 0) {
    microvms.left = await killVmms(vmms);
    microvms.killed = vmms.length - microvms.left;
  }
  return { data: folder.path, wasUp: wasUp || orphans > 0, microvms };
}

function summary({ data, wasUp, microvms: { stopped, killed, kept } }: DownReport): string {
  const parts = [
    stopped > 0 && `${stopped} microVMs stopped`,
    killed > 0 && `${killed} VMM processes killed; the next up records how they ended`,
    kept > 0 && `${kept} microVMs go on running; the next up on ${data} adopts them`,
  ].filter(Boolean);
  const told = parts.length === 0 ? '' : `: ${parts.join('; ')}`;
  return wasUp ? `Down${told}.` : `Nothing was up on ${data}${told}.`;
}
