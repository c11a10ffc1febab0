import { parseArgs } from 'node:util';
import { VmmChoice } from '#protocol';
import { repositoryRoot } from '../repository-root';
import { urlOf } from '../rest/url-of';
import { KeyRing } from '../keys/key-ring';
import { reloadNats } from '../keys/reload-nats';
import { DataFolder } from './data-folder';
import { IN_USE } from './exit-code';
import { settingsOf } from './settings';
import { Supervisor } from './supervisor';
import { FolderInUseError } from './supervisor-lock';
import { DEFAULT_OVERCOMMIT, volleyProcesses } from './volley-processes';

const PRUNE_KEYS_MS = 30_000;

/** The supervisor's own process: `main.js --data DIR --host HOST --port PORT [--overcommit-cpu R] [--overcommit-memory R] [--controllers N] [--cluster] [--emulated] [--vmm kvm|stand-in]`, started by `volley up`, stopped by SIGTERM. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      host: { type: 'string' },
      port: { type: 'string' },
      cluster: { type: 'boolean', default: false },
      emulated: { type: 'boolean', default: false },
      'overcommit-cpu': { type: 'string', default: String(DEFAULT_OVERCOMMIT.cpu) },
      'overcommit-memory': { type: 'string', default: String(DEFAULT_OVERCOMMIT.memory) },
      controllers: { type: 'string', default: '1' },
      vmm: { type: 'string', default: 'kvm' },
    },
    strict: true,
  });
  const { data, host, port } = values;
  if (data === undefined || host === undefined || port === undefined)
    throw new Error('--data, --host and --port are required');
  const vmm = VmmChoice.parse(values.vmm);
  const overcommit = { cpu: Number(values['overcommit-cpu']), memory: Number(values['overcommit-memory']) };
  process.chdir('/');
  const folder = DataFolder.create(data);
  process.title = `volley-supervisor ${folder.path}`;
  const listen = { host, port: Number(port) };
  const supervisor = await Supervisor.of({
    folder,
    url: urlOf(listen),
    vmm,
    processes: async () =>
      volleyProcesses({
        folder,
        settings: await settingsOf(folder, { cluster: values.cluster }),
        listen,
        overcommit,
        controllers: Number(values.controllers),
        emulated: values.emulated,
        vmm,
        root: repositoryRoot(),
      }),
    note,
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      note(`${signal}: stopping every process; microVMs go on`);
      void supervisor.stop().then(() => process.exit(0), die);
    });
  }
  process.on('SIGHUP', () => {}); // the terminal that started it may close
  await supervisor.start();
  setInterval(() => pruneKeys(folder), PRUNE_KEYS_MS);
}

/** Keys that were replaced are let in no more when their time is over. */
function pruneKeys(folder: DataFolder): void {
  const ring = KeyRing.open(folder.keys);
  if (ring.prune(Date.now()) === 0) return;
  ring.save();
  note(`${reloadNats(folder)} nats-server know that a replaced key is over`);
}

function note(text: string): void {
  process.stdout.write(`${new Date().toISOString()} ${text}\n`);
}

function die(error: unknown): never {
  note(`fatal: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(error instanceof FolderInUseError ? IN_USE : 1);
}

process.on('uncaughtException', die);
main().catch(die);
