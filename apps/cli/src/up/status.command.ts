import type { Command } from 'commander';
import { outputOf, type GlobalOptions } from '../commands/context';
import { ExitCode } from '../exit-code';
import { age } from '../output/quantities';
import { table } from '../output/table';
import { RestClient } from '../rest/rest-client';
import { targetOf } from '../rest/target';
import { DataFolder } from '../supervisor/data-folder';
import { markedProcesses } from '../supervisor/marked-processes';
import { SupervisorLock } from '../supervisor/supervisor-lock';
import { readSettings } from '../supervisor/settings';
import { readState } from '../supervisor/supervisor-state';
import { vmmProcesses } from '../supervisor/vmm-processes';

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('what runs of a local up; exits 0 when it is ready, 3 when not')
    .action(async (_options: object, command: Command) => {
      const folder = DataFolder.at(command.optsWithGlobals<GlobalOptions>().data);
      const out = outputOf(command);
      const supervisor = SupervisorLock.holder(folder);
      const state = supervisor && readState(folder);
      const settings = readSettings(folder);
      const vmms = settings ? vmmProcesses(settings.runDir).length : 0;
      const problem = state ? await notReady(folder, state.url) : 'not up';
      const now = Date.now();
      process.exitCode = problem === undefined ? ExitCode.ok : ExitCode.notUp;
      const left = supervisor ? [] : markedProcesses(folder.path);
      if (out.json) {
        return out.document({
          ready: problem === undefined,
          problem: problem ?? null,
          data: folder.path,
          vmms,
          ...(state ?? {}),
          leftBehind: left,
        });
      }
      if (!state) {
        out.line(`Not up (data in ${folder.path}). Start it with: ./volley up --detach`);
        if (left.length > 0) {
          const names = left.map(({ name, pid }) => `${name} (pid ${pid})`).join(', ');
          out.line(`The supervisor died and left behind: ${names}. Both up and down put that right.`);
        }
        if (vmms > 0) out.line(`${vmms} microVMs go on running.`);
        return;
      }
      const rows = [
        { name: 'supervisor', pid: state.supervisor.pid, startedAt: state.since, restarts: 0, lastExit: null },
        ...state.processes,
      ];
      out.line(
        table(
          [
            { title: 'PROCESS', value: ({ name }) => name },
            { title: 'PID', value: ({ pid }) => pid, align: 'right' },
            {
              title: 'UP',
              value: ({ startedAt }) => (startedAt === null ? 'waiting' : age(now - startedAt)),
              align: 'right',
            },
            { title: 'RESTARTS', value: ({ restarts }) => restarts, align: 'right' },
            { title: 'LAST END', value: ({ lastExit }) => lastExit },
          ],
          rows,
        ),
      );
      out.line();
      out.line(
        `${problem === undefined ? 'Ready' : `Not ready: ${problem}`}. REST ${state.url}, token in ${folder.operatorTokenFile}, ${vmms} VMM processes.`,
      );
      if (state.vmm === 'stand-in')
        out.line('Its host runs stand-ins for VMMs (--vmm stand-in): no guest runs in its microVMs.');
    });
}

async function notReady(folder: DataFolder, url: string): Promise<string | undefined> {
  const client = new RestClient(targetOf({ url, tokenFile: folder.operatorTokenFile, data: folder.path }, {}));
  try {
    await client.get('/readyz', { deadlineMs: 3_000 });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
